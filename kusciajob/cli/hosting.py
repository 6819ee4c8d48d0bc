"""A server inside this process, and the signals that end it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from kusciajob.api.grpc_server import AddressInUse
from kusciajob.cli.errors import CommandError
from kusciajob.config import Settings
from kusciajob.datadir import DataDirectoryError
from kusciajob.model.errors import JobError
from kusciajob.security.errors import SecurityError
from kusciajob.server import Server
from kusciajob.users import UserError


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[Server]:
    """A server that serves; stopped in order at the end. CommandError tells why it cannot start.

    From here on this process makes files that only its user can read; programs inherit that and may change it.
    """
    os.umask(0o077)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(Server(settings))
        except (SecurityError, DataDirectoryError, UserError, AddressInUse, JobError) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"the server cannot start: {error}") from None
        yield server


class StopSignals:
    """SIGINT and SIGTERM on the running event loop: the first arrives here, the second ends the process at once."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.arrival: asyncio.Future[signal.Signals] = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._receive, number)

    @property
    def exit_code(self) -> int:
        """What a shell shows for a program that the signal ended."""
        return 128 + self.arrival.result()

    def _receive(self, number: signal.Signals) -> None:
        if self.arrival.done():
            os._exit(128 + number)
        self.arrival.set_result(number)
