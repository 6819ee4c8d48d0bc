"""Connections to the database: a pool, and one that is told of commits."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from kusciajob.model.errors import StoreFailed

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 5.0
COMMAND_SECONDS = 60.0
"""No statement takes longer: it is given up, and fails."""
IDLE_TRANSACTION_SECONDS = 5
"""A server that stands still in a transaction, or cannot be reached, holds its locks so long."""
MOST_CONNECTIONS = 8
ACQUIRE_SECONDS = 15.0
"""How long a read waits for a connection that is free, and for one to be made."""
QUIET_SECONDS = 5
"""A connection that has been silent for so long is asked whether the other side is there, and so often again."""
VANISHED_SECONDS = 10
"""What is not acknowledged for so long has not arrived: the connection has ended. A slow database acknowledges."""
RECONNECT_SECONDS = 1.0
IDLE_SECONDS = 30.0
"""A connection that listens is asked so often whether it still does."""

# The last but one: of several hosts none takes changes now.
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What the driver raises; `failed` says it in our words."""
CUT_OFF = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError, ConnectionError)
"""Those of them after which another connection can have more luck."""
# An answer is an acknowledgement: it comes after the commit is on disk, whatever the database's default is.
# No statement is so long that it pays to compile it.
_SETTINGS: Mapping[str, str] = {
    "application_name": "kusciajob",
    "synchronous_commit": "on",
    "jit": "off",
    "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS}s",
    # Who has locked a row and is gone must not be waited for; but on a Unix socket these say nothing.
    "tcp_keepalives_idle": str(QUIET_SECONDS),
    "tcp_keepalives_interval": str(QUIET_SECONDS),
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": f"{VANISHED_SECONDS}s",
}
# Plans of the statements that commit are kept, and were perhaps made when the tables were empty: reading all of a table
# was right then, and would not be later.
_WRITER_SETTINGS: Mapping[str, str] = {**_SETTINGS, "enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}


def failed(what: str, error: BaseException) -> StoreFailed:
    """What did not work, and why."""
    cause = str(error) or type(error).__name__
    return StoreFailed(f"{what}: {cause.splitlines()[0]} ({type(error).__name__})")


class WatchedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that ends when the database has vanished without a word, as it does when a network fails."""

    __slots__ = ()

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        to_database: socket.socket = transport.get_extra_info("socket")
        if to_database.family == socket.AF_UNIX:
            return
        to_database.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, QUIET_SECONDS),
            (socket.TCP_KEEPINTVL, QUIET_SECONDS),
            (socket.TCP_KEEPCNT, 2),
            (socket.TCP_USER_TIMEOUT, VANISHED_SECONDS * 1000),
        ):
            to_database.setsockopt(socket.IPPROTO_TCP, option, value)


class Database(NamedTuple):
    """Where it is, and the file that holds the password, if not the one of PGPASSFILE."""

    url: str
    password_file: Path | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """For the driver. It reads the file at each connection, so that the password can be changed meanwhile."""
        file = self.password_file
        return {"dsn": self.url, **({"password": lambda: file.read_text().rstrip("\r\n")} if file else {})}


async def open_pool(database: Database) -> asyncpg.Pool:
    """For reads and what is cleaned up. StoreFailed."""
    try:
        # A size that it must have, it restores by itself, and logs a stack trace each time while the database is away.
        pool = await asyncpg.create_pool(
            **database.options,
            min_size=0,
            max_size=MOST_CONNECTIONS,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            connection_class=WatchedConnection,
            server_settings=dict(_SETTINGS),
        )
        async with pool.acquire():
            return pool
    except (*FAILURES, ValueError) as error:
        raise failed("cannot open the job store in PostgreSQL", error) from error


async def open_connection(database: Database) -> asyncpg.Connection:
    """One for whoever needs no more. Raises FAILURES."""
    return await _connect(database, _SETTINGS)


async def close(opened: asyncpg.Connection | asyncpg.Pool) -> None:
    """Close a connection or a pool, once nobody uses it; but at once if that takes long."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await opened.close()
    except FAILURES:
        opened.terminate()


class Writer:
    """The connection that commits; it is opened anew after a failure. For one caller at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: asyncpg.Connection | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """The connection. It is given up if the block fails, so that nothing of it can linger."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await _connect(self._database, _WRITER_SETTINGS)
            yield self._connection
        except BaseException:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            raise

    async def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            await close(self._connection)


async def listen(
    database: Database, channel: str, on_told: Callable[[str], None], on_listening: Callable[[], Any]
) -> None:
    """Pass on what is told on the channel, for ever. What was missed before `on_listening` must be asked for."""
    while True:
        try:
            connection = await _connect(database, _SETTINGS)
            try:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(channel, lambda *told: on_told(str(told[3])))
                on_listening()
                while not lost.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(IDLE_SECONDS):
                            await lost.wait()
                    if not lost.is_set():
                        await connection.execute("SELECT 1")
            finally:
                await close(connection)
        except FAILURES as error:
            logger.debug("not told of commits for now, and asking for them instead: %s", error)
        await asyncio.sleep(RECONNECT_SECONDS)


async def _connect(database: Database, settings: Mapping[str, str]) -> asyncpg.Connection:
    return await asyncpg.connect(
        **database.options,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        connection_class=WatchedConnection,
        server_settings=dict(settings),
    )
