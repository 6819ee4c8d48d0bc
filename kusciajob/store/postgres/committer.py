"""Commits the changes that gather: a group by one statement, and each group once, whatever becomes of its answer."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

from kusciajob.model.errors import StoreFailed
from kusciajob.store.postgres import changes
from kusciajob.store.postgres.changes import Change, Outcome
from kusciajob.store.postgres.connections import FAILURES, Database, Writer, failed
from kusciajob.store.postgres.tail import Tail

logger = logging.getLogger(__name__)

CHANGES_AT_ONCE = 256
BYTES_AT_ONCE = 16 << 20
"""One commit has no more changes, and no more bytes, but of a single change."""
COMMIT_SECONDS = 10.0
"""How long an answer is waited for; then the group is sent again, over another connection."""
UNKNOWN_SECONDS = 10.0
"""How long a caller waits to learn whether its change was made, after the connection was lost meanwhile."""
RETRY_SECONDS = 0.5
FAILED = "the job store cannot commit"
UNKNOWN = "the job store does not tell whether it has made the change, look later"
UNKNOWN_WRITER = "KJ001"
_UNDECIDED = ("08", "40", "57")
"""SQLSTATEs, by their beginnings, after which a group may be committed, or may be if it is sent again."""

CommitReport = Callable[[float, int], None]
"""Where the store tells what each commit took, in seconds, for so many changes."""


class _Call(NamedTuple):
    """A change, and the one who waits for it; when that one is cancelled, the change is committed all the same."""

    change: Change
    outcome: "asyncio.Future[Outcome]"


class Committer:
    """Commits what its callers bring, in one group after the other.

    A group whose answer was lost is sent again under its number until it is known what became of it: the database
    commits a number once, and no older one. A caller is told after a while that nobody knows; but not one that has a
    lease, which must know what it did and gives up by itself once it has lost the lease.
    """

    def __init__(self, database: Database, channel: str, tail: Tail, on_commit: CommitReport) -> None:
        self.failing = asyncio.Event()
        self._channel = channel
        self._tail = tail
        self._on_commit = on_commit
        self._writer = Writer(database)
        self._id = ""
        self._group_number = 0
        self._gathered: list[_Call] = []
        self._work = asyncio.Event()
        self._closing = False

    @property
    def queue_length(self) -> int:
        """How many changes wait for a commit."""
        return len(self._gathered)

    async def commit(self, change: Change) -> Outcome:
        """What became of it. Raises why it was refused; StoreFailed."""
        if self._closing:
            raise StoreFailed("the job store is closed")
        call = _Call(change, asyncio.get_running_loop().create_future())
        self._gathered.append(call)
        self._work.set()
        outcome = await call.outcome
        if (error := changes.refusal(change, outcome)) is not None:
            raise error
        return outcome

    def close(self) -> None:
        """Take no more; `run` returns once all is committed that was taken."""
        self._closing = True
        self._work.set()

    async def run(self) -> None:
        """Commit what has gathered, again and again, until it is closed."""
        while self._gathered or not self._closing:
            self._work.clear()
            if not self._gathered:
                await self._work.wait()
                await asyncio.sleep(0)  # those who call in the same turn share the commit
                continue
            await self._commit_group(self._next_group())
            await asyncio.sleep(0)  # those just answered are likely to call again at once
        await self._writer.close()

    async def _commit_group(self, group: Sequence[_Call]) -> None:
        self._group_number += 1
        lost_at: float | None = None
        """Since when it may be committed, and nobody knows."""
        while True:
            began = time.perf_counter()
            is_sent = False
            try:
                async with self._writer.connected() as connection:
                    if not self._id:
                        self._id = await _register(connection)
                    is_sent = True
                    outcomes = await self._send(connection, group)
            except Exception as error:  # whatever it is, the callers must hear of it
                self.failing.set()
                if lost_at is None and is_sent and _is_undecided(error):
                    lost_at = time.monotonic()
                if getattr(error, "sqlstate", None) == UNKNOWN_WRITER:
                    self._id = (
                        ""  # it stood still for weeks, and registers anew: under another id nothing is sent again
                    )
                    return _settle(group, [failed(UNKNOWN if lost_at else FAILED, error)] * len(group))
                if lost_at is None:
                    return _settle(group, [failed(FAILED, error)] * len(group))
                if not self._is_awaited(group, error, time.monotonic() - lost_at):
                    return None
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.failing.clear()
                self._on_commit(time.perf_counter() - began, len(group))
                self._tail.note(max(outcome.revision or 0 for outcome in outcomes))
                return _settle(group, outcomes)

    async def _send(self, connection: asyncpg.Connection, group: Sequence[_Call]) -> Sequence[Outcome]:
        arguments = changes.arguments(
            [call.change for call in group], writer=self._id, group=self._group_number, channel=self._channel
        )
        rows = await connection.fetch(changes.COMMIT, *arguments, timeout=COMMIT_SECONDS)
        return [Outcome(*row) for row in rows]

    def _is_awaited(self, group: Sequence[_Call], error: Exception, seconds: float) -> bool:
        """Tell those who wait what there is to tell; whether anybody still waits for what became of the group."""
        unsent, self._gathered = self._gathered, []
        _settle(unsent, [failed(FAILED, error)] * len(unsent))
        if self._closing or seconds > UNKNOWN_SECONDS:
            unknown = failed(UNKNOWN, error)
            told = [call for call in group if self._closing or not call.change.fence]
            _settle(told, [unknown] * len(told))
        return not all(call.outcome.done() for call in group)

    def _next_group(self) -> list[_Call]:
        """Take what is committed together. Who is about a job of an earlier call waits for the next group."""
        group: list[_Call] = []
        waiting: list[_Call] = []
        about: set[str] = set()
        size = 0
        for place, call in enumerate(self._gathered):
            if len(group) == CHANGES_AT_ONCE or size > BYTES_AT_ONCE:
                waiting += self._gathered[place:]
                break
            if about.isdisjoint(call.change.about):
                group.append(call)
                size += call.change.bytes
            else:
                waiting.append(call)
            about |= call.change.about
        self._gathered = waiting
        return group


async def _register(connection: asyncpg.Connection) -> str:
    """A new id for a server that commits. Servers that have committed nothing for long are forgotten."""
    writer = uuid.uuid4().hex
    await connection.execute("DELETE FROM writer WHERE committed_at < now() - interval '30 days'")
    await connection.execute("INSERT INTO writer (id) VALUES ($1)", writer)
    return writer


def _is_undecided(error: Exception) -> bool:
    """Whether a group that was sent may be committed after this."""
    if isinstance(error, asyncpg.PostgresError):
        return str(getattr(error, "sqlstate", None) or "08").startswith(_UNDECIDED)
    return isinstance(error, FAILURES)


def _settle(group: Sequence[_Call], outcomes: Sequence[Any]) -> None:
    for call, outcome in zip(group, outcomes, strict=True):
        if call.outcome.done():  # cancelled
            continue
        if isinstance(outcome, Exception):
            call.outcome.set_exception(outcome)
        else:
            call.outcome.set_result(outcome)
