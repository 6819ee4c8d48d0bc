"""What commands that talk to a server share: the connection, and an end at once when nobody reads on or at Ctrl-C."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from kusciajob.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, CommandError
from kusciajob.cli.options import Target
from kusciajob.client.connection import CallFailed, ClientError, Connection, Unreachable, tls_credentials


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Connection]:
    """A connection whose errors are CommandErrors."""
    try:
        async with Connection(target.address, _credentials(target)) as connection:
            yield connection
    except Unreachable as error:
        raise CommandError(
            f"no job server can be reached at {error.address}: start one there with `kusciajob serve`, "
            f"or name another address by --server or KUSCIAJOB_SERVER ({error.details})"
        ) from None
    except ClientError as error:
        raise CommandError(str(error), error.code if isinstance(error, CallFailed) else None) from None


def end_promptly() -> None:
    """End the program at Ctrl-C, and when whoever reads our pipe leaves (`| head`), not only at the next output."""
    loop = asyncio.get_running_loop()
    # asyncio.run alone can sleep through a signal that comes in the instant before it waits.
    loop.add_signal_handler(signal.SIGINT, sys.exit, EXIT_INTERRUPTED)
    descriptor = sys.stdout.fileno()
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        # A pipe's writing end turns readable when it breaks.
        loop.add_reader(descriptor, sys.exit, EXIT_FAILED)


def _credentials(target: Target) -> grpc.ChannelCredentials | None:
    if target.cert_dir is None:
        return None
    try:
        return tls_credentials(target.cert_dir, target.token_file)
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be read: {error.strerror}") from None
