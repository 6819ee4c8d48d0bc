"""What commands that talk to a server share: the connection, and an end at once when nobody reads on or at Ctrl-C."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from kusciajob.cli import slips
from kusciajob.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, CommandError
from kusciajob.cli.options import Target
from kusciajob.client.connection import Connection
from kusciajob.client.errors import CallFailed, ClientError, NotOffered, Unauthenticated, Unavailable
from kusciajob.client.settings import tls_credentials, token_file_of
from kusciajob.security.errors import SecurityError

_WHAT_KUSCIA_OFFERS = (
    "a plain Kuscia, or an earlier kusciajob, has create, get, status, watch, logs and the commands that change a job; "
    "list, describe, history, wait, validate, submit, images and the choices of logs need kusciajob.v1"
)


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Connection]:
    """A connection whose errors are CommandErrors."""
    try:
        async with Connection(target.address, _credentials(target)) as connection:
            yield connection
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
