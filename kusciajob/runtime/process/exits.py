"""What the end of a run means: its result, and the text that explains a failure."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from kusciajob.contracts import ExitResult, OutputStream
from kusciajob.model.appimage import Container
from kusciajob.runtime.process import layout, output_files
from kusciajob.runtime.process.shim_messages import PartyExit

SIGNALLED = 128
"""What a signal's number is added to for an exit code."""


def judge(ended: PartyExit, directory: Path, container: Container | None) -> ExitResult:
    """The result of a run. It deletes the run's temporary files, which may hold unencrypted data."""
    _empty(directory / layout.TEMPORARY)
    if ended.lost:
        text = ended.cause or "lost: its process was found dead or without supervision after the shim had died"
        return ExitResult(succeeded=False, message=text, is_fault=True)
    code = ended.code if ended.signal is None else SIGNALLED + ended.signal
    if code == 0:
        return ExitResult(succeeded=True, exit_code=0, ended_at=ended.ended_at)
    if ended.signal is not None:
        text = f"killed by signal {ended.signal} ({_signal_name(ended.signal)})"
    else:
        text = f"exit code {ended.code}"
    if ended.restarts:
        text += f", after {ended.restarts} restarts" if ended.restarts > 1 else ", after a restart"
    # What the program wrote belongs to its domain.
    tail = output_files.tail(directory / layout.OUTPUT_FILES[OutputStream.STDERR])
    if container is not None and container.config_volume_mounts:
        text += layout.explain_paths(container, tail)
    return ExitResult(succeeded=False, message=text, detail=tail, exit_code=code, ended_at=ended.ended_at)


def _empty(directory: Path) -> None:
    """Empty the directory. An empty one is left alone: for a minute after a deletion ext4 is slow to create files."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        if next(entries, None) is None:
            return
    shutil.rmtree(directory, ignore_errors=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time signal"
