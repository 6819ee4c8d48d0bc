"""What earlier versions have left: data directories as they were, and their shims, which still run."""

import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tests

_RESOURCES = Path(tests.__file__).with_name("resources")
DATA_DIRECTORIES = ("0c01e9e", "46f408d")
"""By the commit that made them: of schema 1 and of schema 4. See scripts/keep_data_directory.py."""
TRIES = 5


def unpack_data_directory(commit: str, directory: Path) -> dict[str, Any]:
    """The data directory as `<directory>/data`, and what the server of that version answered about it."""
    _unpack(_RESOURCES / "data_directories" / f"{commit}.tar.xz", directory)
    answers = directory / "data" / "answers.json"
    told: dict[str, Any] = json.loads(answers.read_text())
    answers.unlink()
    return told


class EarlierShim:
    """The shim of an earlier commit, as its server would have started it.

    One is kept by `git archive COMMIT kusciajob/runtime/process/shim kusciajob/files | xz -9 > COMMIT.tar.xz`.
    """

    def __init__(self, commit: str, place: Path, data: Path) -> None:
        _unpack(_RESOURCES / "shims" / f"{commit}.tar.xz", place)
        (self._main,) = place.glob("kusciajob/runtime/**/shim/__main__.py")
        self._data = data

    def start_party(self, key: str, script: str, *words: str) -> None:
        """A shell script as that server would have started it; the shim is started where it does not run."""
        directory = self._data / "runs" / key
        request = {"id": 1, "op": "start", "key": key, "argv": ["/bin/sh", "-c", script, "sh", *words]}
        request |= {"env": {"PATH": os.environ["PATH"]}, "cwd": str(directory), "dir": str(directory)}
        for _ in range(TRIES):  # without a client it leaves soon
            try:
                with connected(self._data) as stream:
                    stream.write(json.dumps(request).encode() + b"\n")
                    stream.flush()
                    answer = stream.readline()
            except (FileNotFoundError, ConnectionError):
                self._launch()
            else:
                assert b'"state": "running"' in answer, answer
                return
        raise AssertionError("the shim does not stay")

    def _launch(self) -> None:
        with (self._data / "shim.log").open("ab") as log:
            command = [sys.executable, "-I", "-S", str(self._main), str(self._data)]
            subprocess.run(command, check=True, stderr=log, start_new_session=True)


@contextmanager
def connected(data: Path) -> Iterator[Any]:
    """A connection to the shim of a data directory. OSError where none listens."""
    place = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(f"/proc/self/fd/{place}/shim.sock")  # a socket's path holds 108 bytes at most
            with sock.makefile("rwb") as stream:
                yield stream
    finally:
        os.close(place)


def has_all(present: object, earlier: object) -> bool:
    """Whether each field that there was has its value still; there may be more."""
    if isinstance(earlier, Mapping) and isinstance(present, Mapping):
        return all(name in present and has_all(present[name], value) for name, value in earlier.items())
    if isinstance(earlier, list) and isinstance(present, list):
        return len(present) == len(earlier) and all(map(has_all, present, earlier))
    return present == earlier


def _unpack(archive: Path, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as content:
        content.extractall(directory, filter="data")
