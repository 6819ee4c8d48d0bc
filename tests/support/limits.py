"""Limits of the system, put on a running process for a while."""

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.images import python_program

BOUND_USER = 64_999
"""Nobody's number."""


@contextmanager
def limited(pid: int, limit: int, value: int) -> Iterator[None]:
    """The process has that soft limit (one of resource.RLIMIT_*) meanwhile."""
    soft, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (value, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, limit, (soft, hard))


def open_files(pid: int) -> int:
    """How many descriptors the process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def launcher_of_bound_process() -> list[str]:
    """A command that becomes another, as a user whom limits of processes bind: root is exempt. May skip the test."""
    if os.geteuid() != 0:
        return []
    # Of root's rights it keeps the access to files, as the code may be where no other user can read it.
    capabilities = [f"--{kind}-caps=-all,+dac_override" for kind in ("inh", "ambient")]
    launcher = ["setpriv", f"--reuid={BOUND_USER}", f"--regid={BOUND_USER}", "--clear-groups", *capabilities]
    try:
        subprocess.run([*launcher, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"root, who is exempt from the limit, cannot become another user here: {error}")
    return launcher


@contextmanager
def unable_to_fork(pid: int, launcher: Sequence[str]) -> Iterator[None]:
    """The process, begun with that launcher, can start no other meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)  # inherited
    _limit_processes(pid, 1, hard, launcher=launcher)
    try:
        yield
    finally:
        _limit_processes(pid, soft, hard, launcher=launcher)


def _limit_processes(pid: int, soft: int, hard: int, *, launcher: Sequence[str]) -> None:
    # By a process of the same user: root may not, where a container has taken that right away.
    change = f"import resource; resource.prlimit({pid}, resource.RLIMIT_NPROC, ({soft}, {hard}))"
    subprocess.run([*launcher, *python_program(change)], check=True)
