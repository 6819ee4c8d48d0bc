"""A watch that goes on over lost connections and restarts: nothing is missed, nothing is told twice."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from kusciajob.api import kuscia, v1
from kusciajob.client.calling import LONGEST_PAUSE_SECONDS, Calling, Deadline, Pauses
from kusciajob.client.comparison import Comparison, Sighting
from kusciajob.client.errors import (
    ClientClosed,
    ClientError,
    InvalidJob,
    JobNotFound,
    LimitReached,
    NotOffered,
    RevisionGone,
    TimedOut,
    Unavailable,
)
from kusciajob.client.values import Change, ChangeType, status_of

PLACED_SECONDS = 2.0
"""How long a plain Kuscia may take to answer a watch; one without jobs answers with its first event only."""
_TYPES = {
    v1.WatchJobsResponse.TYPE_ADDED: ChangeType.ADDED,
    v1.WatchJobsResponse.TYPE_MODIFIED: ChangeType.MODIFIED,
    v1.WatchJobsResponse.TYPE_DELETED: ChangeType.DELETED,
    v1.WatchJobsResponse.TYPE_LEFT: ChangeType.LEFT,
    v1.WatchJobsResponse.TYPE_ERROR: ChangeType.ERROR,
}


class Choice(Struct, frozen=True):
    """Which jobs a watch is about."""

    jobs: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    party: str = ""
    initiator: str = ""


async def watch(
    calling: Calling,
    choice: Choice,
    *,
    since: int | None = None,
    timeout: float | None = None,
    known: Sequence[Sighting] = (),
    on_outage: Callable[[ClientError], object] | None = None,
) -> AsyncGenerator[Change, None]:
    """First the jobs that exist as ADDED, or what follows a revision, then each change, until the time is over.

    `known`: jobs as the consumer has seen them already. `on_outage` is told why, each time the stream is made again.
    Raises RevisionGone if `since` can no longer be used; ClientError for what trying again does not mend.
    """
    comparison, deadline, pauses = Comparison(), Deadline(timeout), Pauses()
    for sighting in known:
        comparison.know(sighting)
    follower: _Revisions | _Replays
    if await calling.has_v1(deadline.left):
        follower = _Revisions(calling, choice, comparison, since)
    elif since is not None or choice.states or choice.party or choice.initiator:
        raise NotOffered("a plain Kuscia has no revisions and no filters: watch without since, state, party, initiator")
    else:
        follower = _Replays(calling, choice, comparison)
    was_begun = False
    while not deadline.is_over:
        follower.has_begun, opened = False, time.monotonic()
        try:
            async with aclosing(follower.follow(deadline.left)) as changes:
                async for change in changes:
                    pauses.reset()
                    yield change
        except ClientError as error:
            has_begun = follower.has_begun or _is_long_since(opened)
            was_begun = was_begun or has_begun
            if not _is_mended_by_time(error, has_begun=has_begun, was_begun=was_begun):
                raise
            if on_outage is not None and not deadline.is_over:
                on_outage(error)
        if _is_long_since(opened):
            pauses.reset()
        pause, left = pauses.next(), deadline.left
        await calling.transport.sleep(pause if left is None else min(pause, left))


def _is_long_since(moment: float) -> bool:
    return time.monotonic() - moment > LONGEST_PAUSE_SECONDS


def _is_mended_by_time(error: ClientError, *, has_begun: bool, was_begun: bool) -> bool:
    """Whether to connect again.

    A stream that has begun may be ended by anything on the way, also by a token that was replaced: its successor shows
    whether that stays. A server that is crowded now took this watch before.
    """
    match error:
        case ClientClosed() | NotOffered():
            return False
        case Unavailable() | TimedOut():
            return True
        case LimitReached():
            return was_begun
    return has_begun


class _Revisions:
    """Over kusciajob.v1: goes on after the last revision; all jobs are compared where there is none, or it is gone."""

    def __init__(self, calling: Calling, choice: Choice, comparison: Comparison, since: int | None) -> None:
        self._calling = calling
        self._choice = choice
        self._comparison = comparison
        self._position = since
        self.has_begun = False
        """Whether the present stream has told something."""
        self._knows_all = since is None
        """Whether the consumer was told every job by this watch."""

    async def follow(self, seconds: float | None) -> AsyncGenerator[Change, None]:
        """The changes, until the stream ends."""
        choice, is_replay = self._choice, self._position is None
        request = v1.WatchJobsRequest(
            job_ids=choice.jobs,
            states=choice.states,
            party=choice.party,
            initiator=choice.initiator,
            after_revision=self._position,
            include_existing=is_replay,
        )
        if is_replay:
            self._comparison.begin_replay()
        try:
            stream = await self._calling.transport.open(self._calling.stubs.v1.WatchJobs, request, timeout=seconds)
            async with aclosing(self._calling.transport.messages(stream)) as messages:
                async for event in messages:
                    self.has_begun = True
                    if event.type == v1.WatchJobsResponse.TYPE_BOOKMARK:
                        changes = await self._end_replay() if is_replay else []
                        is_replay, self._position = False, event.revision
                    elif is_replay:
                        changes = self._compare(event)
                    else:
                        self._position = event.revision
                        changes = [self._comparison.follow(_TYPES[event.type], _sighting(event), event.revision)]
                    for change in changes:
                        yield change
        except (RevisionGone, InvalidJob) as error:  # InvalidJob: of a revision that the server does not have yet
            if self._position is None:
                raise
            if not self._knows_all:
                raise RevisionGone(error.code, error.message) from None
            self._position = None

    def _compare(self, event: v1.WatchJobsResponse) -> list[Change]:
        kind, sighting = _TYPES[event.type], _sighting(event)
        match kind:
            case ChangeType.ERROR:
                return [Change(kind, sighting.status, 0)]
            case ChangeType.DELETED | ChangeType.LEFT:
                return self._comparison.delete(sighting, kind=kind)
        return self._comparison.see(sighting)

    async def _end_replay(self) -> list[Change]:
        """What was not shown is gone, or passes the filter no more."""
        changes = []
        for job_id in self._comparison.unseen:
            kind = ChangeType.LEFT if self._choice.states and await self._exists(job_id) else ChangeType.DELETED
            changes += self._comparison.lose(job_id, kind=kind)
        return changes

    async def _exists(self, job_id: str) -> bool:
        try:
            await self._calling.ask(self._calling.stubs.v1.GetJob, v1.GetJobRequest(job_id=job_id))
        except JobNotFound:
            return False
        return True


class _Replays:
    """Over a plain Kuscia: each stream begins with all jobs, without saying where they end."""

    def __init__(self, calling: Calling, choice: Choice, comparison: Comparison) -> None:
        self._calling = calling
        self._jobs = frozenset(choice.jobs)
        self._comparison = comparison
        self.has_begun = False
        """Whether the present stream has told something."""

    async def follow(self, seconds: float | None) -> AsyncGenerator[Change, None]:
        """The changes, until the stream ends."""
        self._comparison.begin_replay()
        jobs = self._calling.stubs.jobs
        stream = await self._calling.transport.open(jobs.WatchJob, kuscia.WatchJobRequest(), timeout=seconds)
        async with aclosing(self._calling.transport.messages(stream)) as messages:
            # Once the stream is in place a deletion comes by it; those of before are found by a question. A Kuscia that
            # has nothing to tell does not say that the stream is in place: it is asked now, and again once it has.
            is_placed = await self._calling.transport.is_placed(stream, within=PLACED_SECONDS)
            for change in await self._find_deleted():
                yield change
            async for event in messages:
                if not is_placed:
                    is_placed = True
                    for change in await self._find_deleted():
                        yield change
                self.has_begun = True
                for change in self._changes(event):
                    yield change

    async def _find_deleted(self) -> list[Change]:
        job_ids = self._comparison.job_ids
        found = await self._calling.statuses(job_ids)
        return [change for job_id in job_ids if job_id not in found for change in self._comparison.lose(job_id)]

    def _changes(self, event: kuscia.WatchJobEventResponse) -> list[Change]:
        job_id = event.object.job_id
        if event.type == kuscia.HEARTBEAT or (self._jobs and job_id not in self._jobs):
            return []
        sighting = plain_sighting(job_id, event.object.status)
        match event.type:
            case kuscia.ERROR:
                return [Change(ChangeType.ERROR, sighting.status, 0)]
            case kuscia.DELETED:
                return self._comparison.delete(sighting)
        return self._comparison.see(sighting)


def plain_sighting(job_id: str, detail: kuscia.JobStatusDetail) -> Sighting:
    """Without numbers and revisions: by when it was created with which tasks, and by all that is told of it."""
    identity = detail.create_time, tuple(task.task_id for task in detail.tasks)
    return Sighting(status_of(job_id, detail), identity, detail.SerializeToString(deterministic=True))


def v1_sighting(summary: v1.JobSummary, detail: kuscia.JobStatusDetail) -> Sighting:
    """By the job's number and revision."""
    return Sighting(status_of(summary.job_id, detail), summary.number, summary.revision)


def _sighting(event: Any) -> Sighting:
    return v1_sighting(event.job, event.status)
