"""The lease in the database: which server schedules. The database's clock decides when one is over."""

import asyncio
import contextlib
import logging
import time

from kusciajob.contracts import JobStore, LeaseLost
from kusciajob.store.postgres.connections import FAILURES, Database, Writer, failed
from kusciajob.store.postgres.store import PostgresStore

logger = logging.getLogger(__name__)

LEASE_SECONDS = 7.0
RENEWAL_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""A server that waits for the lease looks so often whether it is free."""
RETRY_SECONDS = 0.5
ANSWER_SECONDS = 3.0

# Each is one statement: a server that stands still in the middle of several would hold the row that all commits need.
_TAKE = (
    "UPDATE store SET fence = fence + 1, leader = $1, home = $2, leased_until = clock_timestamp() + $3 * interval '1 s'"
    " WHERE (leased_until IS NULL OR leased_until < clock_timestamp()) AND home IN ('', $2) RETURNING fence"
)
_LOOK = "SELECT leader, home FROM store"
_RENEW = (
    "UPDATE store SET leased_until = clock_timestamp() + $2 * interval '1 s'"
    " WHERE fence = $1 AND leased_until IS NOT NULL RETURNING fence"
)
_RELEASE = "UPDATE store SET leased_until = NULL WHERE fence = $1 RETURNING pg_notify($2, 'lease')"
_FORGET_HOME = (
    "UPDATE store SET home = '' WHERE leased_until IS NULL OR leased_until < clock_timestamp() RETURNING home"
)


class PostgresLeases:
    """Leases of a store. `server` is who wants one, for people; `home` is where its programs run, "" for anywhere."""

    def __init__(self, store: PostgresStore, *, server: str, home: str) -> None:
        self._store = store
        self._server = server
        self._home = home
        self._told = ""

    async def take(self) -> "PostgresLease | None":
        """See Leases."""
        connection = Writer(self._store.database)
        asked_at = _uptime()
        try:
            async with connection.connected() as one:
                fence = await one.fetchval(_TAKE, self._server, self._home, LEASE_SECONDS, timeout=ANSWER_SECONDS)
                leader, home = await one.fetchrow(_LOOK, timeout=ANSWER_SECONDS)
        except FAILURES as error:
            raise failed("the lease cannot be asked for", error) from error
        if fence is None:
            await connection.close()
            self._tell(leader, home)
            return None
        self._told = ""
        logger.info("this server schedules from now on")
        return PostgresLease(self._store, connection, fence=fence, asked_at=asked_at)

    async def wait(self) -> None:
        """See Leases."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._store.tail.lease_released.wait()
        self._store.tail.lease_released.clear()

    def _tell(self, leader: str, home: str) -> None:
        """Once for each leader."""
        if leader == self._told:
            return
        self._told = leader
        if home not in ("", self._home):
            logger.warning(
                "jobs run on the machine of server %s: this one serves calls and can never take over "
                "(runtimes process and container; `kusciajob migrate --forget-home` if that machine is gone for good)",
                leader,
            )
        else:
            logger.info("server %s schedules; this one serves calls, and takes over when that one ends", leader)


class PostgresLease:
    """A Lease, with a connection of its own: nothing that takes long may keep it from being renewed."""

    def __init__(self, store: PostgresStore, connection: Writer, *, fence: int, asked_at: float) -> None:
        """`asked_at`: when it was asked for, by `_uptime`. The database counts from a later moment."""
        self.store: JobStore = store.under(fence)
        self.fence = fence
        self._channel = store.channel
        self._connection = connection
        self._until = asked_at + LEASE_SECONDS
        self._renewed = asyncio.Event()

    async def held(self) -> None:
        """See Lease."""
        while _uptime() >= self._until:
            await self._renewed.wait()

    async def keep(self) -> None:
        """See Lease."""
        pause = RENEWAL_SECONDS
        while True:
            await asyncio.sleep(pause)
            asked_at = _uptime()
            try:
                async with self._connection.connected() as one:
                    fence = await one.fetchval(_RENEW, self.fence, LEASE_SECONDS, timeout=ANSWER_SECONDS)
            except FAILURES as error:
                logger.warning("the lease is not renewed, trying again: %s", error)
                pause = RETRY_SECONDS
                continue
            if fence is None:
                raise LeaseLost("another server schedules since")
            pause = RENEWAL_SECONDS
            self._until = asked_at + LEASE_SECONDS
            self._renewed.set()
            self._renewed.clear()

    async def release(self) -> None:
        """See Lease."""
        self._until = 0.0
        try:
            async with self._connection.connected() as one:
                await one.execute(_RELEASE, self.fence, self._channel, timeout=ANSWER_SECONDS)
        except FAILURES as error:
            logger.warning("the lease is not released, and ends by itself: %s", error)
        await self._connection.close()


async def forget_home(database: Database) -> bool:
    """Let servers with another home lead. False: a server leads now."""
    connection = Writer(database)
    try:
        async with connection.connected() as one:
            return await one.fetchval(_FORGET_HOME, timeout=ANSWER_SECONDS) is not None
    except FAILURES as error:
        raise failed("the lease cannot be changed", error) from error
    finally:
        await connection.close()


def _uptime() -> float:
    """Seconds that go on while the process, or the machine, stands still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
