"""Writes log lines to a file descriptor, on a thread of its own, so that a full disk delays nobody."""

import logging
import os
import select
import threading

MOST_BYTES = 4 << 20
"""What may wait to be written; lines beyond are dropped."""
GATHER_SECONDS = 0.02
"""The shortest time between two writes: a thread that wakes for each line would cost more than the line."""
CLOSE_SECONDS = 2.0
"""How long the end of the process is put off for what has yet to be written."""
_SELECT_SECONDS = 1.0


class LogWriter(logging.Handler):
    """A logging handler that formats a record on the caller's thread, and never waits for the medium.

    Lines are dropped while the medium is full, blocked or gone. Later, a line says how many.
    """

    def __init__(self, descriptor: int, *, most_bytes: int = MOST_BYTES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        # Not the handler's own: that one is held by whoever closes it.
        self._guard = threading.Lock()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._dropped = 0
        self._is_at_line_start = True
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        with self._guard:
            if self._bytes + len(line) > self._most_bytes:
                self._dropped += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            is_first = len(self._lines) == 1
        if is_first:
            self._news.set()

    def close(self) -> None:
        """Write the waiting lines, within CLOSE_SECONDS: a blocked medium may never take them."""
        self._closing.set()
        self._news.set()
        self._thread.join(CLOSE_SECONDS)
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def _write(self) -> None:
        is_last = False
        while not is_last:
            self._news.wait()
            self._news.clear()
            is_last = self._closing.is_set()
            with self._guard:
                lines, dropped = self._lines, self._dropped
                self._lines, self._bytes, self._dropped = [], 0, 0
            batch = [*self._notice(dropped), *lines]
            if batch and (unwritten := self._put(batch)):
                with self._guard:
                    # A notice that is among it stands for as many as it tells of.
                    self._dropped += unwritten if unwritten < len(batch) or not dropped else unwritten - 1 + dropped
            self._closing.wait(GATHER_SECONDS)

    def _notice(self, dropped: int) -> list[bytes]:
        if not dropped:
            return []
        text = "%d records were dropped here: what takes the log was full, blocked or gone"
        return [self._line(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (dropped,), None))]

    def _put(self, lines: list[bytes]) -> int:
        """Write the lines at once; return how many of the last ones could not be."""
        rest = memoryview(b"".join(lines) if self._is_at_line_start else b"\n" + b"".join(lines))
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # whoever shares it has made it so
                select.select([], [self._descriptor], [], _SELECT_SECONDS)
            except OSError:
                break
            else:
                self._is_at_line_start = rest[written - 1] == ord("\n")
                rest = rest[written:]
        size, unwritten = 0, 0
        for line in reversed(lines):
            if size >= len(rest):
                break
            size += len(line)
            unwritten += 1
        return unwritten
