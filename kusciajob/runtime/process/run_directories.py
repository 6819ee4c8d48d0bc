"""The directories of runs, `<runs>/<job>/<task>/<run>`, and what they tell of the runs that they belong to."""

import os
import shutil
from pathlib import Path

from kusciajob.contracts import OutputStream
from kusciajob.runtime import output_files


def name(directory: Path) -> str:
    """The shim's key for a run: its directory, relative to the directory of runs."""
    return "/".join(directory.parts[-3:])


def numbers(runs: Path) -> set[int]:
    return {int(entry.name) for entry in runs.iterdir() if entry.name.isdecimal()}


def claim(directory: Path) -> bool:
    """Prevent a start that an earlier server may have requested. False if the party has been started already."""
    try:
        os.close(
            os.open(directory / output_files.NAMES[OutputStream.STDOUT], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        )
    except FileExistsError:
        return False
    except OSError:
        return True  # without a directory, or space for a file in it, nobody can start it either
    return True


def delete(directory: Path) -> None:
    """Delete the directory tree. Raises OSError."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        if directory.exists():
            raise
    except PermissionError:
        # A program can leave read-only directories. Make them writable, as their owner may.
        for parent, names, _ in os.walk(directory):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(directory)


def unended(job: Path) -> list[Path]:
    """The party directories below a job's that have no record of an exit."""
    return [path for path in job.glob("*/*") if path.is_dir() and not (path / "exit.json").exists()]
