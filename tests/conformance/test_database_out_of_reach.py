"""PostgreSQL cannot be reached, and nobody says so: the store notices, and calls have an answer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from kusciajob.model.errors import StoreFailed
from kusciajob.store.postgres import connections
from kusciajob.store.postgres.connections import Database
from kusciajob.store.postgres.store import PostgresStore
from tests.support.cut_line import CutLine
from tests.support.polling import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.postgres


@pytest.fixture
async def far(url: str, line: CutLine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """The store of a server behind the line; it gives up connecting soon."""
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.5)
    store = await PostgresStore.open(url.replace(f":{urlsplit(url).port}/", f":{line.port}/"))
    yield store
    line.speak()
    await line.mend()
    await store.close()


async def test_a_read_that_finds_no_connection_fails_as_the_store_does(far: PostgresStore, line: CutLine) -> None:
    await far.head()
    await line.cut()
    await line.mend()
    line.silence()  # connections are accepted, and nothing comes
    with pytest.raises(StoreFailed, match="the job store cannot be read"):
        await asyncio.wait_for(far.head(), PATIENCE_SECONDS)


async def test_the_store_fails_before_anybody_changes_something(far: PostgresStore, line: CutLine) -> None:
    await far.probe()
    assert not far.failing.is_set()
    await line.cut()
    await eventually(far.failing.is_set)


async def test_both_sides_of_a_connection_look_whether_the_other_is_there(url: str) -> None:
    """That the system ends a connection whose packets vanish is shown by tests/faults/soak_lines.py."""
    sockets = []

    class Seen(connections.WatchedConnection):
        __slots__ = ()

        def __init__(self, protocol: object, transport: asyncio.Transport, *rest: object) -> None:
            super().__init__(protocol, transport, *rest)
            sockets.append(transport.get_extra_info("socket"))

    patch = pytest.MonkeyPatch()
    patch.setattr(connections, "WatchedConnection", Seen)
    try:
        connection: asyncpg.Connection = await connections.open_connection(Database(url))
    finally:
        patch.undo()
    there = await connection.fetchrow(
        "SELECT current_setting('tcp_user_timeout'), current_setting('tcp_keepalives_idle')"
    )
    assert tuple(there) == ("10000", "5")
    (own,) = sockets
    assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    await connection.close()
