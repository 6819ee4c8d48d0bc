"""A server inside this process, and the signals that end it."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from kusciajob.api.grpc.server import AddressInUse
from kusciajob.cli import signals
from kusciajob.cli.errors import CommandError
from kusciajob.config import Settings
from kusciajob.model.errors import JobError
from kusciajob.operations.datadir import DataDirectoryError
from kusciajob.runtimes import RuntimeUnavailable
from kusciajob.security.errors import SecurityError
from kusciajob.server import Server, TracingUnavailable
from kusciajob.users import UserError

WAKE_BYTES = 4096


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[Server]:
    """A server that serves; stopped in order at the end. CommandError tells why it cannot start.

    From here on this process makes files that only its user can read; programs inherit that and may change it.
    """
    os.umask(0o077)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(Server(settings))
        except (
            TracingUnavailable,
            RuntimeUnavailable,
            SecurityError,
            DataDirectoryError,
            UserError,
            AddressInUse,
            JobError,
        ) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"the server cannot start: {error}") from None
        yield server


class StopSignals:
    """SIGINT and SIGTERM: the first that the process has got arrives here. One object serves a process."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.arrival: asyncio.Future[signal.Signals] = loop.create_future()
        self._on_hang_up: Callable[[], None] | None = None
        # Signals go on being kept after the loop is closed, so these two are never closed.
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signals.keep()
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        loop.add_reader(self._reader, self._wake)
        self._take()

    @property
    def exit_code(self) -> int:
        """The exit code of a program that the signal ended, as shells show it."""
        return 128 + self.arrival.result()

    def obey_hang_ups(self, reload: Callable[[], None]) -> None:
        """Call the function for each SIGHUP, also for one that has come already."""
        self._on_hang_up = reload
        self._take()

    def _wake(self) -> None:
        self._reader.recv(WAKE_BYTES)
        self._take()

    def _take(self) -> None:
        if signals.received.stop is not None and not self.arrival.done():
            self.arrival.set_result(signals.received.stop)
        if signals.received.hang_up and self._on_hang_up is not None:
            signals.received.hang_up = False
            self._on_hang_up()
