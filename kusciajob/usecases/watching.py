"""Watching the jobs that pass a filter, on behalf of a caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from kusciajob.contracts import EventHub, JobStore, WatchStream
from kusciajob.model.errors import InvalidJob, LogTruncated, Problem
from kusciajob.model.selection import JobFilter
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.revisions import reached


class JobWatch:
    """Opens streams of what happens to jobs."""

    def __init__(self, *, store: JobStore, hub: EventHub) -> None:
        self._store = store
        self._hub = hub

    @asynccontextmanager
    async def open(
        self,
        chosen: JobFilter,
        caller: Caller,
        *,
        after: int | None = None,
        include_existing: bool = False,
        min_revision: int = 0,
    ) -> AsyncIterator[WatchStream]:
        """What follows a revision, or the present one, or, with `include_existing`, first what exists.

        `min_revision`: see revisions.reached.

        Raises InvalidJob if `after` does not exist yet; LogTruncated, also later, if it can no longer be used.
        """
        await reached(self._store, min_revision)
        start: int | None = await self._store.head()
        if after is not None:
            await self._check(after, chosen)
            start = after
        if include_existing:
            start = None
        own = replace(chosen, visible_to=caller.domain)
        try:
            async with self._hub.subscribe(after=start, chosen=own) as stream:
                yield stream
        except LogTruncated as error:
            raise LogTruncated(
                f"this watch fell too far behind, {error}: the oldest after_revision that can be used is "
                f"{error.usable}; or begin again with include_existing",
                usable=error.usable,
            ) from None

    async def _check(self, after: int, chosen: JobFilter) -> None:
        head = await self._store.head()
        if after > head:
            text = f"after_revision {after} does not exist yet: the newest revision is {head}"
            raise InvalidJob(text, problems=[Problem("after_revision", text)])
        usable = 0
        if chosen.states or chosen.ended_after is not None or chosen.ended_before is not None:
            usable = self._store.phases_told_after
        try:
            await self._store.read_log(after, 1)
        except LogTruncated as error:
            usable = max(usable, error.usable)
        if after < usable:
            raise LogTruncated(
                f"after_revision {after} is too old: the oldest that can be used with this filter is {usable}; "
                "or begin again with include_existing",
                usable=usable,
            )
