"""What commands that talk to a server share: the connection, and an end at once when nobody reads on or at Ctrl-C."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kusciajob.cli import slips, terminal
from kusciajob.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, CommandError
from kusciajob.cli.options import Target
from kusciajob.client.calling import CALL_SECONDS, Calling
from kusciajob.client.errors import (
    CallFailed,
    ClientError,
    NotOffered,
    NotServing,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from kusciajob.client.settings import token_file_of
from kusciajob.client.transport import AsyncTransport
from kusciajob.security.errors import SecurityError

CONNECT_SECONDS = 10.0
_WHAT_KUSCIA_OFFERS = (
    "a plain Kuscia, or an earlier kusciajob, has create, get, status, watch, wait, logs and the commands that change "
    "a job; list, describe, history, validate, submit, images, audit, info, open and the choices of logs need "
    "kusciajob.v1"
)


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Calling]:
    """Calls of a server; their errors are CommandErrors. None is tried again: somebody waits to be told."""
    transport = AsyncTransport(target)
    _open(target, transport)
    try:
        try:
            yield Calling(transport, CALL_SECONDS, is_patient=False)
        finally:
            await transport.close()
    except NotServing as error:
        raise CommandError(str(error)) from None
    except Unavailable as error:
        slip = await slips.explain(target, error.details)
        raise CommandError(
            slip
            or f"no job server can be reached at {error.address}: start one there with `kusciajob serve`, "
            f"or name another address by --server or KUSCIAJOB_SERVER ({error.details})"
        ) from None
    except Unauthenticated as error:
        raise CommandError(f"{error}{_whose_token(target)}") from None
    except NotOffered as error:
        raise CommandError(f"{error}: {_WHAT_KUSCIA_OFFERS}") from None
    except ClientError as error:
        raise CommandError(str(error), (error.code or None) if isinstance(error, CallFailed) else None) from None


async def reach(calling: Calling) -> None:
    """Connect now, for what would otherwise try again for ever. Unavailable where that fails, or takes too long."""
    try:
        await calling.has_v1(CONNECT_SECONDS)
    except TimedOut:
        raise Unavailable(calling.transport.address, f"no connection within {CONNECT_SECONDS:g} seconds") from None


def tell_outage(error: ClientError) -> None:
    """That a watch connects again, and why."""
    details = error.details if isinstance(error, Unavailable) else str(error)
    terminal.say_line(f"kusciajob: connection lost, trying again: {details}", err=True)


def end_promptly() -> None:
    """End the program at Ctrl-C, and when whoever reads our pipe leaves (`| head`), not only at the next output."""
    loop = asyncio.get_running_loop()
    # asyncio.run alone can sleep through a signal that comes in the instant before it waits.
    loop.add_signal_handler(signal.SIGINT, sys.exit, EXIT_INTERRUPTED)
    descriptor = sys.stdout.fileno()
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        # A pipe's writing end turns readable when it breaks.
        loop.add_reader(descriptor, sys.exit, EXIT_FAILED)


def _open(target: Target, transport: AsyncTransport) -> None:
    try:
        _ = transport.stubs.line.channel  # now the files are read
    except OSError as error:
        raise CommandError(
            f"{error.filename} cannot be read: {error.strerror}; --cert-dir takes a directory with ca.crt, token and, "
            "for mtls, client.crt and client.key, as `kusciajob init` writes them; --token-file names another token"
        ) from None
    except SecurityError as error:
        raise CommandError(f"{error}; --token-file names another") from None


def _whose_token(target: Target) -> str:
    if target.cert_dir is None:
        return "; call it with --cert-dir DIR (or KUSCIAJOB_CERT_DIR), where DIR has ca.crt and token"
    file = token_file_of(target.cert_dir, target.token_file)
    return f"; the token is from {file}: copy the server's there, or name another by --token-file"
