"""Coverage-guided fuzzing of all targets or some: `python -m tests.fuzz.coverage [TARGET ...] --seconds N`.

libFuzzer ends the process that it runs in, so each target has one of its own. A failing input is shown as bytes to
call the target with; that takes neither atheris nor libFuzzer.
"""

import argparse
import importlib.util
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

TARGETS = ("grpc_edge", "http_edge", "http_connection", "appimages", "job_files", "settings", "templates")
MISSING = "atheris is not installed; setup.cfg tells for which Pythons and machines it is published"
MAX_INPUT_BYTES = 4096
MAX_INPUT_SECONDS = 40
"""An input that takes longer is a finding."""
MAX_MIB = 1024
SPARE_SECONDS = 120
"""The longest for starting, and for all when only the inputs are limited."""

logger = logging.getLogger(__name__)


class Outcome(Struct, frozen=True):
    """What came of fuzzing a target."""

    target: str
    exit_code: int
    inputs: int
    """How many were tried."""
    per_second: int
    failing: bytes | None
    output: str

    def __str__(self) -> str:
        if self.exit_code == 0:
            return f"{self.target}: {self.inputs} inputs, {self.per_second} a second, no failure"
        found = "" if self.failing is None else f"\nagain: tests.fuzz.raw.{self.target}.run({self.failing!r})"
        return f"{self.output}\n{self.target}: FAILED, exit code {self.exit_code}{found}"


def is_available() -> bool:
    """Whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def fuzz(
    target: str, *, seconds: int = 0, inputs: int = -1, seed: int = 0, input_seconds: int = MAX_INPUT_SECONDS
) -> Outcome:
    """Until the first failure, so long or so many inputs (0 or -1: no limit); without a seed other ones each time."""
    with tempfile.TemporaryDirectory() as place:
        flags = (
            f"-max_total_time={seconds}",
            f"-runs={inputs}",
            f"-seed={seed}",
            f"-timeout={input_seconds}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-rss_limit_mb={MAX_MIB}",
            f"-artifact_prefix={place}/failing-",
            "-keep_seed=1",  # what a library makes of an input is not seen as coverage
            "-print_final_stats=1",
        )
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.raw", target, *flags],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"TMPDIR": place, "PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + SPARE_SECONDS,
            check=False,
        )
        failing = [file.read_bytes() for file in Path(place).glob("failing-*")]
    output = ended.stdout.decode(errors="replace")
    return Outcome(
        target=target,
        exit_code=ended.returncode,
        inputs=_figure("number_of_executed_units", output),
        per_second=_figure("average_exec_per_sec", output),
        failing=failing[0] if failing else None,
        output=output,
    )


def _figure(name: str, output: str) -> int:
    found = re.search(rf"stat::{name}: +([0-9]+)", output)
    return int(found[1]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage", description=__doc__)
    parser.add_argument("targets", metavar="TARGET", nargs="*", help=f"all of {', '.join(TARGETS)} when none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if not is_available():
        logger.warning("skipped: %s", MISSING)
        return
    for target in chosen.targets or TARGETS:
        outcome = fuzz(target, seconds=chosen.seconds)
        logger.info("%s", outcome)
        if outcome.exit_code:
            sys.exit(1)


if __name__ == "__main__":
    main()
