"""How far the streams of this process have been read, so that a test can wait for those who read them."""

import asyncio
import secrets
import threading
import weakref
from typing import Any

from msgspec import Struct

_ID_BYTES = 8


class Reader(Struct, frozen=True):
    """Who reads: a thread, and the asyncio task that runs on it."""

    thread: int
    task: Any = None

    @classmethod
    def present(cls) -> "Reader":
        """Whoever calls this."""
        try:
            return cls(threading.get_ident(), asyncio.current_task())
        except RuntimeError:  # no event loop runs here
            return cls(threading.get_ident())

    @property
    def is_there(self) -> bool:
        is_alive = any(thread.ident == self.thread for thread in threading.enumerate())
        return is_alive and (self.task is None or not self.task.done())


class Reading:
    """Of one stream, which the server knows by `request_id`, by whoever opens it. It lasts as long as the stream."""

    def __init__(self) -> None:
        self.request_id = secrets.token_hex(_ID_BYTES)
        self.taken = 0
        """So many messages have been dealt with: their reader has come back for the next."""
        self._reader = Reader.present()
        self._is_given_up = False
        _readings[self.request_id] = self

    def take(self) -> None:
        """The present thread and task have dealt with a message."""
        self.taken += 1
        self._reader, self._is_given_up = Reader.present(), False

    def give_up(self) -> None:
        """Nobody waits for the present message to be dealt with any more."""
        self._is_given_up = True

    def can_go_on(self, while_waits: Reader) -> bool:
        """Whether its reader may come back while another one waits for that. Its own thread, or task, cannot."""
        reader = self._reader
        if self._is_given_up or reader.thread == threading.get_ident():
            return False
        is_own = reader == while_waits if reader.task is None else reader.task is while_waits.task
        return not is_own and reader.is_there


_readings: weakref.WeakValueDictionary[str, Reading] = weakref.WeakValueDictionary()


def find(request_id: str) -> Reading | None:
    """The stream of this process that has the id."""
    return _readings.get(request_id)
