"""Keeps the output of running parties within its limit, and notes when it arrived."""

import contextlib
import ctypes
import os
import stat
import struct
import time

from kusciajob.files import arrivals
from kusciajob.files.holes import free_oldest
from kusciajob.runtime.process.shim.records import log

OUTPUT_NAMES = ("stdout.log", "stderr.log")
ARRIVAL_NAMES = {"stdout.log": "stdout.arrivals", "stderr.log": "stderr.arrivals"}
CHECK_SECONDS = 0.02
"""How long a program can write beyond its limit: what it writes meanwhile is all that a file ever exceeds it by."""
FAULT_SECONDS = 1.0
READ_BYTES = 64 << 10
IN_MODIFY = 0x00000002
IN_ONESHOT = 0x80000000
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class Output:
    """Both output files of a party."""

    def __init__(self, key: str, directory: str, limit_bytes: int | None) -> None:
        self.key = key
        self.directory = directory
        self.watch = -1
        self._limit_bytes = limit_bytes
        self._sizes = dict.fromkeys(OUTPUT_NAMES, 0)
        self._has_complained = False

    def look(self) -> bool:
        """Notes what has arrived and frees what exceeds the limit. Raises OSError.

        True when anything was written since the last call.
        """
        sizes = dict.fromkeys(OUTPUT_NAMES, 0)
        large = []
        for name in OUTPUT_NAMES:
            path = f"{self.directory}/{name}"
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(path)
                if not stat.S_ISREG(found.st_mode):
                    continue  # the program has put something else in its place
                sizes[name] = found.st_size
                if self._limit_bytes is not None and found.st_blocks * 512 > self._limit_bytes:
                    large.append(path)
        before, self._sizes = self._sizes, sizes
        if sizes != before:
            self._note(before)
        for path in large:
            free_oldest(path, self._limit_bytes or 0)
        return sizes != before

    def _note(self, before: dict[str, int]) -> None:
        now = time.time()  # what has arrived until now has arrived by then
        try:
            for name, size in self._sizes.items():
                if size != before[name]:
                    # One that is smaller was begun anew.
                    after = before[name] if size > before[name] else 0
                    arrivals.note(f"{self.directory}/{ARRIVAL_NAMES[name]}", [(now, size)], after=after)
        except OSError as error:
            if not self._has_complained:
                log(f"party {self.key}: when its output arrived is not noted: {error}")
            self._has_complained = True


class Outputs:
    """The outputs of all running parties.

    While something is written they are checked every CHECK_SECONDS. A quiet one costs nothing: the system tells when
    it is written to. Where the system cannot (it limits such requests), an output is never taken for quiet.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        """Readable when `take_news` has something to do; negative where the system tells nothing."""
        self._busy: dict[str, Output] = {}
        self._quiet: dict[int, Output] = {}  # by their watch
        self._check_at = 0.0

    def add(self, output: Output) -> None:
        """Until `remove`."""
        if not self._busy:
            self._check_at = time.monotonic() + CHECK_SECONDS
        self._busy[output.key] = output

    def remove(self, output: Output) -> None:
        self._busy.pop(output.key, None)
        if self._quiet.pop(output.watch, None):
            self._libc.inotify_rm_watch(self.descriptor, output.watch)

    def next_check(self) -> float | None:
        """The monotonic time of the next `check`; None while all are quiet."""
        return self._check_at if self._busy else None

    def check(self) -> None:
        """Looks at what is being written; one that was not written to since the last time is quiet from now on."""
        self._check_at = time.monotonic() + CHECK_SECONDS
        for output in list(self._busy.values()):
            try:
                if not output.look():
                    self._await_news(output)
            except OSError as error:
                log(f"party {output.key}: output not looked at: {error}")
                self._check_at = time.monotonic() + FAULT_SECONDS  # one that lasts must not fill the log

    def take_news(self) -> None:
        """Reads which of the quiet ones are written to."""
        news = os.read(self.descriptor, READ_BYTES)
        while news:
            watch, _, _, name_bytes = EVENT.unpack_from(news)
            news = news[EVENT.size + name_bytes :]
            # A negative watch says that some news had no room.
            for number in [watch] if watch >= 0 else list(self._quiet):
                if output := self._quiet.pop(number, None):
                    self.add(output)

    def _await_news(self, output: Output) -> None:
        directory, mask = os.fsencode(output.directory), ctypes.c_uint32(IN_MODIFY | IN_ONESHOT)
        output.watch = self._libc.inotify_add_watch(self.descriptor, directory, mask)
        if output.watch < 0:
            return
        self._quiet[output.watch] = output
        # What was written just before that is no news.
        if not output.look():
            del self._busy[output.key]
