"""What a starting server finds: unfinished jobs, what runs of them, and what deleted jobs have left."""

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from kusciajob.contracts import Clock, JobStore, Runtime
from kusciajob.model.errors import LogTruncated
from kusciajob.model.status import ACTIVE, EventType, Job, JobEvent
from kusciajob.scheduler.supervisor import until_done
from kusciajob.scheduler.worker import active_parties
from kusciajob.telemetry.story import of_party

SEARCHED_EVENTS = 20_000
"""So many of the newest events are looked through for the tasks of deleted jobs that left something."""
SEARCHED_AT_ONCE = 500


class Stray(Struct, frozen=True):
    """A deleted job of which something is left: its name, and the tasks that may still run (None: any)."""

    number: int
    holder: str
    task_ids: tuple[str, ...] | None


class Found(Struct, frozen=True):
    """All that was found, as of a revision."""

    revision: int
    unfinished: Sequence[Job]
    strays: Sequence[Stray]


NOTHING_FOUND = Found(0, (), ())


async def look_around(store: JobStore, runtime: Runtime) -> Found:
    """Read store and runtime, before anybody changes the store. Raises StoreFailed."""
    revision = await store.head()
    unfinished = await store.unfinished()
    return Found(revision, unfinished, await _find_strays(store, runtime, revision))


async def attach(jobs: Sequence[Job], runtime: Runtime, *, clock: Clock) -> None:
    """Reserve again what the running parties of the jobs have. If the runtime fails, it is asked again."""
    for job in jobs:
        for party, _ in active_parties(job, lambda _: None):  # that needs no image
            what = f"taking back party {party.key} of job {job.job_id}"
            await until_done(what, partial(runtime.attach, party), clock=clock, fields=of_party(party))


def stray_of(deleted: JobEvent) -> Stray:
    """What a job may have left, from its DELETED event."""
    job = deleted.job
    if job.status.is_damaged:
        return Stray(job.number, job.job_id, None)
    # What has ended left nothing running, and what was not committed as placed was never started.
    return Stray(job.number, job.job_id, tuple(task.task_id for task in job.status.tasks if task.state in ACTIVE))


async def _find_strays(store: JobStore, runtime: Runtime, head: int) -> list[Stray]:
    """The deleted jobs for which the runtime has anything, with the tasks that may still run."""
    missing = await store.missing(await runtime.owned())
    known: dict[int, Stray] = {}
    end = head
    # A job is deleted after it was created, and these mostly just before the server ended.
    while len(known) < len(missing) and end > max(min(missing), head - SEARCHED_EVENTS):
        start = read = max(end - SEARCHED_AT_ONCE, 0)
        try:
            while read < end:  # big events come a few at a time
                for event in await store.read_log(read, end - read):
                    read = event.revision
                    if event.type is EventType.DELETED and event.job.number in missing:
                        known[event.job.number] = stray_of(event)
        except LogTruncated:
            break
        end = start
    return [known.get(number) or Stray(number, f"number {number}", None) for number in sorted(missing)]
