"""The line to a server: a channel of gRPC that is closed before the process forks, and made again with the next call.

gRPC does not survive a fork while one of its threads works: the child ends with a signal. So nothing of it lives at a
fork. The calls that are cut fail as over a lost connection, which the client mends.
"""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

FORK_SECONDS = 2.0
"""A fork is not kept waiting longer by threads that do not leave gRPC."""
LOOK_SECONDS = 0.05
_SPINNING = "channel_spin"
"""The function of gRPC's thread that takes what comes over a channel; it ends after the channel's last call."""


class Line:
    """What stubs take for a channel; they last, although the channel changes.

    `connect` makes a channel, for the given event loop or for threads.
    """

    def __init__(self, connect: Callable[[], Any], loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._connect = connect
        self._loop = loop
        self._channel: Any = None
        self._lock = threading.Lock()
        self.cuts = 0
        """How often it was cut by a fork."""
        forks.lines.add(self)

    @property
    def channel(self) -> Any:
        """The present channel. Not to be asked while the process forks."""
        with self._lock:
            if self._channel is None:
                self._channel = self._connect()
            return self._channel

    def unary_unary(self, *arguments: Any, **keywords: Any) -> "Method":
        return Method(self, "unary_unary", arguments, keywords)

    def unary_stream(self, *arguments: Any, **keywords: Any) -> "Method":
        return Method(self, "unary_stream", arguments, keywords)

    def hang_up(self) -> Any:
        """The channel, for its closing; the next call makes another."""
        channel, self._channel = self._channel, None
        return channel

    def begin_anew(self) -> Any:
        """In a child process: as hang_up, whatever the parent's threads were doing."""
        self._lock = threading.Lock()
        return self.hang_up()

    def cut(self) -> None:
        """End what goes on, for a fork. That of a loop which runs in another thread cannot be closed from here."""
        if self._channel is None or (self._loop is not None and not self._is_at_rest(self._loop)):
            return
        self.cuts += 1
        channel = self.hang_up()
        if self._loop is None:
            channel.close()
            return
        with suppress(StopIteration, RuntimeError):  # RuntimeError: its loop is closed
            channel.close(None).send(None)  # without grace it waits for nothing

    @staticmethod
    def _is_at_rest(loop: asyncio.AbstractEventLoop) -> bool:
        return not loop.is_running() or asyncio._get_running_loop() is loop


class Method:
    """A method over the present channel."""

    def __init__(self, line: Line, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._line = line
        self._kind = kind
        self._arguments = arguments
        self._keywords = keywords
        self._bound: tuple[Any, Any] = (None, None)

    def __call__(self, request: Any, *, timeout: float | None = None) -> Any:
        return self._present(request, timeout=timeout)

    def future(self, request: Any, *, timeout: float | None = None) -> Any:
        return self._present.future(request, timeout=timeout)

    @property
    def _present(self) -> Any:
        channel, method = self._bound
        if channel is not self._line.channel:
            channel = self._line.channel
            method = getattr(channel, self._kind)(*self._arguments, **self._keywords)
            self._bound = channel, method
        return method


class Forks:
    """The threads that are inside gRPC: a fork waits until all are out, and none goes in before it is over."""

    def __init__(self) -> None:
        self.lines: weakref.WeakSet[Line] = weakref.WeakSet()
        self.is_child = False
        """This process was forked from one that had the client loaded, and perhaps used gRPC's asyncio."""
        self._inherited: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._forking: set[int] = set()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around what may wait in gRPC, in a thread."""
        changed = self._changed
        with changed:
            # What the forking thread itself does, as a finalizer, must not wait for it.
            changed.wait_for(lambda: not self._forking or threading.get_ident() in self._forking)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= self._changed is changed  # else this is the child, which begins anew
                self._changed.notify_all()

    def before(self) -> None:
        with self._changed:
            self._forking.add(threading.get_ident())
        deadline = time.monotonic() + FORK_SECONDS
        while True:
            were_all_out = not self._inside  # else one that was in already may connect again
            for line in list(self.lines):
                line.cut()
            if were_all_out or time.monotonic() > deadline:
                break
            with self._changed:
                self._changed.wait_for(lambda: not self._inside, LOOK_SECONDS)
        for thread in threading.enumerate():
            if getattr(getattr(thread, "_target", None), "__name__", "") == _SPINNING:
                thread.join(max(0.0, deadline - time.monotonic()))

    def after_in_parent(self) -> None:
        with self._changed:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()

    def after_in_child(self) -> None:
        self.is_child = True
        # What could not be closed is the parent's: to let go of it would close it, which ends the process.
        self._inherited += [line.begin_anew() for line in self.lines]
        self._begin()


forks = Forks()
os.register_at_fork(before=forks.before, after_in_parent=forks.after_in_parent, after_in_child=forks.after_in_child)
