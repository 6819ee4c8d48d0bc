"""Starts the shim of one data directory, and connects to its socket."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from kusciajob.files import descriptors as openfiles
from kusciajob.files.regular import open_own, open_regular
from kusciajob.runtime.process import shim
from kusciajob.runtime.process.shim import EXIT_LOCKED
from kusciajob.runtime.process.shim_messages import ShimUnavailable


class Launcher:
    """Starts one shim at a time. `directory` is the data directory, an absolute path."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._launching: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Kill a shim that is being started; one that listens goes on."""
        if self._launching is not None:
            self._launching.kill()
            self._launching.wait()

    def connect(self) -> socket.socket | None:
        """A connected socket, None when nobody listens (yet)."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.setblocking(False)
            # A socket's path holds 108 bytes at most; the way over the descriptor is always short.
            sock.connect(f"/proc/self/fd/{directory}/shim.sock")
        except OSError:
            sock.close()
            return None
        finally:
            os.close(directory)
        return sock

    def launch(self) -> None:
        """Start a shim; `is_ready` tells when it listens."""
        main = Path(shim.__file__).with_name("__main__.py")
        log_file = open_own(self._directory / "shim.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            # Not asyncio's subprocess: uvloop forks the whole server for one.
            self._launching = subprocess.Popen(
                [sys.executable, "-I", "-S", str(main), str(self._directory), str(openfiles.limit_of_programs())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log_file,
                start_new_session=True,
            )
        finally:
            os.close(log_file)

    def is_ready(self) -> bool:
        """False while a shim is being started. The starting process ends when it listens, so no child is left.

        Raises ShimUnavailable if it has failed.
        """
        if self._launching is None:
            return True
        code = self._launching.poll()
        if code is None:
            return False
        self._launching = None
        if code not in (0, EXIT_LOCKED):
            raise ShimUnavailable(
                f"the shim of {self._directory} does not start (exit code {code}): {self.last_words()}"
            )
        return True

    def last_words(self) -> str:
        """The last line of the shim's log."""
        try:
            with open(open_regular(self._directory / "shim.log"), errors="replace") as file:
                lines = file.read().splitlines()
        except OSError as error:
            return str(error)
        return lines[-1] if lines else "its log is empty"
