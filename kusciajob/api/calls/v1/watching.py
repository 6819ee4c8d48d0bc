"""WatchJobs: the events of the jobs that pass a filter, and bookmarks."""

import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.watching import JobWatch
from kusciajob.wire.v1.events import ToldEvent, bookmark, told
from kusciajob.wire.v1.filters import decode_filter

BOOKMARK_SECONDS = 9.0
"""After so long without anything comes a bookmark; 10 s are promised."""
MAX_SECONDS = 2**31 - 1


class WatchCalls:
    """Serves WatchJobs."""

    def __init__(self, watch: JobWatch, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._monotonic = monotonic

    async def WatchJobs(
        self, request: pb.WatchJobsRequest, caller: Caller
    ) -> AsyncGenerator[Sequence[ToldEvent], None]:
        """The events in batches, for at most `timeout_seconds`.

        The first batch is empty: from now on nothing is missed. Raises InvalidJob, LogTruncated, HubClosed,
        StoreFailed.
        """
        chosen = decode_filter(request, visible_to=caller.domain)
        _check(request)
        after = request.after_revision if request.HasField("after_revision") else None
        now = self._monotonic()
        deadline = now + (request.timeout_seconds or float("inf"))
        # Streams that begin together are not to be told together.
        silence = random.uniform(BOOKMARK_SECONDS / 2, BOOKMARK_SECONDS)  # noqa: S311  # no secret
        async with self._watch.open(
            chosen, caller, after=after, include_existing=request.include_existing, min_revision=request.min_revision
        ) as stream:
            yield ()
            if after is None and not request.include_existing and stream.position is not None:
                yield (bookmark(stream.position),)
            while now < deadline:
                is_exact = stream.position is not None
                batch = await stream.read(min(silence, deadline - now))
                now, silence = self._monotonic(), BOOKMARK_SECONDS
                if batch:
                    yield [
                        told(
                            published.seen_by(caller.domain) if caller.domain else published,
                            chosen,
                            revision=published.event.revision if is_exact else 0,
                        )
                        for published in batch
                    ]
                elif stream.position is not None:
                    yield (bookmark(stream.position),)


def _check(request: pb.WatchJobsRequest) -> None:
    problems: list[Problem] = []

    def note(field: str, text: str) -> None:
        problems.append(Problem(field, f"{field} {text}"))

    if not 0 <= request.timeout_seconds <= MAX_SECONDS:
        note("timeout_seconds", f"{request.timeout_seconds} is out of range: 0 (no limit) to {MAX_SECONDS}")
    if request.HasField("after_revision"):
        if request.after_revision < 0:
            note("after_revision", f"{request.after_revision} is below 0: it is the revision of an event or a bookmark")
        if request.include_existing:
            note("include_existing", "is not possible with after_revision: what existed then was told before it")
    if problems:
        raise InvalidJob("; ".join(problem.text for problem in problems), problems=problems)
