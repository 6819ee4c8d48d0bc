"""Signals, from the first line of a command that hosts a server to the end of the process.

Handlers of an event loop would come too late and go too early: a process whose modules are being imported, or whose
loop is closed already, would die of the raw signal. Imported before anything else, so it imports next to nothing.
"""

import os
import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)
HOSTS = ("serve", "run")
"""The commands that a signal ends in order; every other one may just die of it."""


class Received:
    """What has come so far. A second SIGINT ends the process at once; SIGTERM may come as often as it likes."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        """The first of SIGINT and SIGTERM."""
        self.hang_up = False
        """Whether SIGHUP has come; whoever obeys it resets this."""

    def receive(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hang_up = True
        elif self.stop is None:
            self.stop = signal.Signals(number)
        elif number == signal.SIGINT:
            os._exit(128 + number)


received = Received()


def keep() -> None:
    """From now on signals are kept in `received`, in which an event loop looks when it is woken."""
    for number in (*STOPPING, signal.SIGHUP):
        signal.signal(number, received.receive)


def ignore() -> None:
    """At the very end: the interpreter takes handlers away while it shuts down, but leaves alone what is ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
