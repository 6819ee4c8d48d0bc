"""What the end of a run means: its result, and the text that explains a failure."""

import contextlib
import os
import shutil
from pathlib import Path

from kusciajob.contracts import ExitResult, OutputStream
from kusciajob.model.appimage import Container
from kusciajob.runtime import exit_texts, output_files
from kusciajob.runtime.process import layout
from kusciajob.runtime.process.shim_messages import PartyExit


def judge(ended: PartyExit, directory: Path, container: Container | None) -> ExitResult:
    """The result of a run. It deletes the run's temporary files, which may hold unencrypted data."""
    _empty(directory / layout.TEMPORARY)
    if ended.lost:
        text = ended.cause or "lost: its process was found dead or without supervision after the shim had died"
        return ExitResult(succeeded=False, message=text, is_fault=True)
    code = ended.code if ended.signal is None else exit_texts.SIGNALLED + ended.signal
    if code == 0:
        return ExitResult(succeeded=True, exit_code=0, ended_at=ended.ended_at)
    text = f"exit code {ended.code}" if ended.signal is None else exit_texts.of_signal(ended.signal)
    text += exit_texts.after_restarts(ended.restarts)
    # What the program wrote belongs to its domain.
    tail = output_files.tail(directory / output_files.NAMES[OutputStream.STDERR])
    if container is not None and container.config_volume_mounts:
        text += layout.explain_paths(container, tail)
    return ExitResult(succeeded=False, message=text, detail=tail, exit_code=code, ended_at=ended.ended_at)


def _empty(directory: Path) -> None:
    """Empty the directory. An empty one is left alone: for a minute after a deletion ext4 is slow to create files."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        if next(entries, None) is None:
            return
    shutil.rmtree(directory, ignore_errors=True)
