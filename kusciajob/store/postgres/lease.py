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
"""A server that waits for the lease looks at least so often whether it is free, and when it ends."""
MOMENT_SECONDS = 0.02
RETRY_SECONDS = 0.5
ANSWER_SECONDS = 3.0

# Each is one statement: a server that stands still in the middle of several would hold the row that all commits need.
# A lease is counted from when the statement came, not from when it got the row: else the last renewal of a server that
# crashed while it waited would count from after the crash.
# Who was not told whether it has the lease ($4) takes what is in its own name.
_TAKE = (
    "WITH taken AS (UPDATE store SET fence = fence + 1, leader = $1, home = $2,"
    " leased_until = statement_timestamp() + $3 * interval '1 s'"
    " WHERE (leased_until IS NULL OR leased_until < clock_timestamp() OR ($4 AND leader = $1)) AND home IN ('', $2)"
    " RETURNING fence)"
    " SELECT taken.fence, leader, home,"
    " coalesce(extract(epoch FROM leased_until - clock_timestamp()), 0)::double precision"
    " FROM store LEFT JOIN taken ON true"
)
_RENEW = (
    "UPDATE store SET leased_until = statement_timestamp() + $2 * interval '1 s'"
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
        self._connection = Writer(store.database)
        self._pause = LOOK_SECONDS
        self._is_untold = False
        """Whether the database may have given it the lease, and the answer was lost."""

    async def take(self) -> "PostgresLease | None":
        """See Leases."""
        asked_at = _uptime()
        self._pause = RETRY_SECONDS
        try:
            async with self._connection.connected() as one:
                fence, leader, home, left = await one.fetchrow(
                    _TAKE, self._server, self._home, LEASE_SECONDS, self._is_untold, timeout=ANSWER_SECONDS
                )
        except FAILURES as error:
            self._is_untold = True
            raise failed("the lease cannot be asked for", error) from error
        self._is_untold = False
        if fence is None:
            self._pause = min(left + MOMENT_SECONDS, LOOK_SECONDS) if left > 0 else LOOK_SECONDS
            self._tell(leader, home, is_led=left > 0)
            return None
        self._told = ""
        logger.info("this server schedules from now on")
        connection, self._connection = self._connection, Writer(self._store.database)
        return PostgresLease(self._store, connection, fence=fence, asked_at=asked_at)

    async def wait(self) -> None:
        """See Leases."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._store.tail.lease_released.wait()
        self._store.tail.lease_released.clear()

    async def close(self) -> None:
        """See Leases."""
        await self._connection.close()

    def _tell(self, leader: str, home: str, *, is_led: bool) -> None:
        """Once for each leader."""
        if leader == self._told:
            return
        if home not in ("", self._home):
            self._told = leader
            logger.warning(
                "jobs run on the machine of server %s: this one serves calls and can never take over "
                "(runtimes process and container; `kusciajob migrate --forget-home` if that machine is gone for good)",
                leader,
            )
        elif is_led:
            self._told = leader
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
