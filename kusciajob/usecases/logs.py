"""The use cases of the log API: what the programs of a task have written, and where they run."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import TypeAlias

from msgspec import Struct, structs

from kusciajob.contracts import ImageSource, JobStore, Node, NodeSource, OutputSource, OutputStream, PartyKey
from kusciajob.model import failures
from kusciajob.model.appimage import DeployTemplate
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import InvalidJob, JobError, JobNotFound, NotAllowed, Problem, TaskNotFound
from kusciajob.model.status import ACTIVE, JobStatus, JobSummary, TaskState
from kusciajob.model.text import listed, shown
from kusciajob.streams import interleaved
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.log_lines import MAX_LINE_BYTES, LineReader, LogLine, Output, Round, Timeline
from kusciajob.usecases.log_order import TailFilter, merged

POLL_SECONDS = 0.2
Pause: TypeAlias = Callable[[float], Awaitable[None]]
"""Returns when a follower should look again, after so many seconds at most."""
Following: TypeAlias = Callable[[], AbstractContextManager[Pause]]
"""Entered by each follower of output for as long as it follows."""
PARTIES_AT_ONCE = 8
"""Of so many parties one stream reads at once, at most; where it follows more, each is looked at more rarely."""
_ENDED = frozenset({TaskState.SUCCEEDED, TaskState.FAILED})


@contextmanager
def in_rounds() -> Iterator[Pause]:
    """A follower looks as often as it wants to."""
    yield asyncio.sleep


class LogQuery(Struct, frozen=True):
    """Which lines are wanted of what a party has written.

    `attempt`: 0 is the newest. `stream`: None is both, in order of arrival as far as that is known. `tail_lines`: None
    is all. `since`: seconds since the epoch; lines that arrived before are left out. `offset`: in bytes, of one stream.
    `follow`: until the attempt ends.
    """

    task_id: str
    domain_id: str = ""
    role: str = ""
    attempt: int = 0
    replica: int = 0
    stream: OutputStream | None = None
    tail_lines: int | None = None
    since: float | None = None
    offset: int = 0
    follow: bool = False


class PartyRun(Struct, frozen=True):
    """One party of a task, and one attempt of it."""

    key: PartyKey
    domain_id: str
    role: str


class TaskOutput:
    """Reads what a task's programs write: while they run, after they ended, after a restart."""

    def __init__(
        self,
        *,
        store: JobStore,
        runtime: NodeSource,
        source: OutputSource,
        images: ImageSource,
        following: Following = in_rounds,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._source = source
        self._images = images
        self._following = following

    async def read(
        self, task_id: str, *, domain: str, replica: int, caller: Caller, follow: bool, container: str = ""
    ) -> AsyncGenerator[str, None]:
        """The output of one party in its newest attempt, stdout before stderr; when it follows, lines as they come.

        The party is chosen by `domain`, or `domain/role` where a domain has several. Without it: the caller's own
        party; for the master, the task's first. Raises InvalidJob (also for an unknown container), TaskNotFound,
        NotAllowed.
        """
        key = await self._party(task_id, domain=domain, replica=replica, caller=caller)
        if container:
            await self._check_container(container, task_id, key)
        with self._following() as pause:
            while follow and not key.attempt and not await self._is_ended(task_id, key):
                await pause(POLL_SECONDS)  # it has yet to start
                key = await self._party(task_id, domain=domain, replica=replica, caller=caller)
            followers = [_Follower(Output(self._source, key, stream, replica)) for stream in OutputStream]
            while True:
                is_last = not follow or await self._is_ended(task_id, key)
                for follower in followers:
                    async with aclosing(follower.read(to_the_end=is_last)) as texts:
                        async for text in texts:
                            yield text
                if is_last:
                    return
                await pause(POLL_SECONDS)

    async def find(self, query: LogQuery, caller: Caller) -> PartyKey:
        """The first of `find_all`."""
        return (await self.find_all(query, caller))[0].key

    async def find_all(self, query: LogQuery, caller: Caller) -> list[PartyRun]:
        """The runs that the query allows, at least one, for `lines`. Before a task has started they are of attempt 0.

        Raises InvalidJob (also for an attempt that never was), TaskNotFound, NotAllowed.
        """
        _check(query)
        if caller.domain and query.domain_id not in ("", caller.domain):
            caller.refuse(f"read the output of domain {shown(query.domain_id)}: each domain reads its own")
        job = await self._job_of(query.task_id, caller)
        index = job.index_of(query.task_id)
        task = job.status.tasks[index]
        if query.attempt > task.attempt:
            had = f"it has had {listed([str(number + 1) for number in range(task.attempt)])}; 0 is the newest"
            raise _invalid(
                "attempt",
                f"task {shown(query.task_id)} has no attempt {query.attempt}: "
                f"{had if task.attempt else 'it has not started yet'}",
            )
        domain_id = query.domain_id or caller.domain
        attempt = query.attempt or task.attempt
        found = [
            PartyRun(PartyKey(job.number, index, attempt, position), party.domain_id, party.role)
            for position, party in enumerate(task.parties)
            if domain_id in ("", party.domain_id) and query.role in ("", party.role)
        ]
        if found:
            if query.replica:
                await self._check_replica(query, found[0].key, job.status if attempt == task.attempt else None)
            return found
        wanted = f"{domain_id}/{query.role}" if query.role else domain_id
        known = listed(failures.party_names(task.parties))
        raise _invalid(
            "role" if query.role else "domain_id",
            f"task {shown(query.task_id)} has no party {shown(wanted)}; it has: {known}",
        )

    def lines(
        self, query: LogQuery, runs: Sequence[PartyRun], caller: Caller
    ) -> AsyncGenerator[tuple[PartyRun, Sequence[LogLine]], None]:
        """The lines of these runs, some at a time; when it follows, whole ones as they come.

        What was written after the call is left out unless it follows. What many runs cost is bounded, see
        PARTIES_AT_ONCE. Raises as `find_all`.
        """
        turns = asyncio.Semaphore(PARTIES_AT_ONCE)
        pause_seconds = POLL_SECONDS * max(1.0, len(runs) / PARTIES_AT_ONCE)
        return interleaved([self._lines(query, run, caller, turns, pause_seconds) for run in runs])

    async def _lines(
        self, query: LogQuery, run: PartyRun, caller: Caller, turns: asyncio.Semaphore, pause_seconds: float
    ) -> AsyncGenerator[tuple[PartyRun, Sequence[LogLine]], None]:
        """Who has no turn holds nothing of what was written."""
        key = run.key
        with self._following() as pause:
            while query.follow and not key.attempt and not await self._is_ended(query.task_id, key):
                await pause(pause_seconds)  # it has yet to start
                newest = await self.find(query, caller)
                key = structs.replace(key, attempt=newest.attempt)
            streams = [query.stream] if query.stream else list(OutputStream)
            outputs = {stream: Output(self._source, key, stream, query.replica) for stream in streams}
            async with turns:
                is_over = await self._is_ended(query.task_id, key)
                now = await self._round(query, key, outputs, before=None, is_over=is_over)
                readers, chosen = await _begin(query, outputs, now)
            while True:
                async with turns, aclosing(merged(readers, now)) as pieces:
                    async for lines in pieces:
                        if kept := chosen.keep(lines):
                            yield run, kept
                if now.is_last:
                    return
                await pause(pause_seconds)
                async with turns:
                    is_over = await self._is_ended(query.task_id, key)
                    now = await self._round(query, key, outputs, before=now, is_over=is_over)

    async def _round(
        self,
        query: LogQuery,
        key: PartyKey,
        outputs: dict[OutputStream, Output],
        *,
        before: Round | None,
        is_over: bool,
    ) -> Round:
        """How far to read now. While it follows, it leaves for later what came just now: its order is known then."""
        sizes = {stream: await output.size() for stream, output in outputs.items()}
        if before is not None and sizes == before.sizes == before.bounds and not is_over:
            return before
        timeline = Timeline(await self._source.arrivals(key, replica=query.replica))
        is_last = is_over or not query.follow
        bounds = sizes
        if before is not None and not is_last:
            # If nothing is known of it a round later, nothing will be.
            bounds = {
                stream: min(size, max(timeline.known(stream), before.sizes[stream])) for stream, size in sizes.items()
            }
        return Round(sizes, bounds, timeline, is_last=is_last, is_over=is_over)

    async def node(self, task_id: str, *, domain: str, replica: int, caller: Caller) -> Node:
        """The machine where a party runs. Raises InvalidJob, TaskNotFound, NotAllowed."""
        key = await self._party(task_id, domain=domain, replica=replica, caller=caller)
        return await self._runtime.node(key, replica=replica)

    async def _party(self, task_id: str, *, domain: str, replica: int, caller: Caller) -> PartyKey:
        if not task_id:
            raise InvalidJob("task_id is required: QueryJob tells the ids of a job's tasks")
        job = await self._job_of(task_id, caller)
        index = job.index_of(task_id)
        task = job.status.tasks[index]
        wanted = domain or caller.domain
        if caller.domain and wanted != caller.domain and not wanted.startswith(f"{caller.domain}/"):
            caller.refuse(f"read the output of domain {shown(wanted)}: each domain reads its own")
        for position, party in enumerate(task.parties):
            names = party.domain_id, f"{party.domain_id}/{party.role}"
            if (not wanted or wanted in names) and caller.domain in ("", party.domain_id):
                key = PartyKey(job.number, index, task.attempt, position)
                replicas = await self._replicas(task_id, key, job.status) if replica else 1
                if not 0 <= replica < replicas:
                    raise InvalidJob(f"replica_idx {replica} is out of range: the party runs {replicas}, from 0 on")
                return key
        known = listed(failures.party_names(task.parties))
        raise InvalidJob(f"task {shown(task_id)} has no party {shown(wanted)}; it has: {known}")

    async def _check_replica(self, query: LogQuery, key: PartyKey, status: JobStatus | None) -> None:
        """Raise InvalidJob if the run has no such replica. `status`: that of the job, if the run is its newest."""
        replicas = await self._replicas(query.task_id, key, status) if status else await self._source.replicas(key)
        if query.replica >= replicas:
            raise _invalid("replica", f"replica {query.replica} is out of range: the party runs {replicas}, from 0 on")

    async def _replicas(self, task_id: str, key: PartyKey, status: JobStatus) -> int:
        """How many instances of its program the party has, or will have once it is started."""
        started = await self._source.replicas(key)
        template = await self._template(task_id, key) if status.is_unfinished else None
        return max(started, template.replicas) if template else started

    async def _template(self, task_id: str, key: PartyKey) -> DeployTemplate | None:
        """The deploy template that the party would get now; None if its AppImage is not known."""
        job = await self._store.get(await self._store.job_of_task(task_id))
        if job.number != key.job:
            return None  # another of that id
        task = job.spec.tasks[key.task]
        try:
            image = self._images.get(task.app_image)
            return image.template_for(task.parties[key.party].role) if image else None
        except JobError:
            return None

    async def _check_container(self, container: str, task_id: str, key: PartyKey) -> None:
        """Raise InvalidJob if the party has no such container. If its AppImage is unknown, any name passes."""
        template = await self._template(task_id, key)
        names = [known.name for known in template.containers] if template else []
        if template and container not in names:
            raise InvalidJob(
                f"task {shown(task_id)} has no container {shown(container)}; "
                f"its party has: {listed(list(map(shown, names)))}; leave it empty for all"
            )

    async def _job_of(self, task_id: str, caller: Caller) -> JobSummary:
        """The job of a task. Raises TaskNotFound, JobNotFound, JobDamaged; for a domain NotAllowed, also of others."""
        try:
            job = await self._summary_of(task_id)
            caller.require(job)
            return job
        except (TaskNotFound, JobNotFound, JobDamaged, NotAllowed) as error:
            is_told = isinstance(error, JobDamaged) and all(map(caller.may_see, error.jobs))
            if caller.domain and not is_told:
                caller.refuse(
                    f"read the output of task {shown(task_id)}: it is neither initiator nor party of such a task's job"
                )
            raise

    async def _summary_of(self, task_id: str) -> JobSummary:
        """The job, without its specification: this runs several times a second. Raises TaskNotFound, JobNotFound."""
        (job,) = await self._store.summaries([await self._store.job_of_task(task_id)])
        return job

    async def _is_ended(self, task_id: str, key: PartyKey) -> bool:
        try:
            job = await self._summary_of(task_id)
        except (TaskNotFound, JobNotFound):
            return True
        task = job.status.tasks[key.task]
        if job.number != key.job or not job.status.is_unfinished:
            return True
        if task.attempt != key.attempt:
            return key.attempt > 0  # else it has just started
        # A task that is to run again is Pending.
        return task.parties[key.party].state in _ENDED or (key.attempt > 0 and task.state not in ACTIVE)


def _check(query: LogQuery) -> None:
    """Raises InvalidJob."""
    if not query.task_id:
        raise _invalid("task_id", "task_id is required: GetJob tells the ids of a job's tasks")
    for name in ("attempt", "replica", "tail_lines", "offset"):
        if (getattr(query, name) or 0) < 0:
            raise _invalid(name, f"{name} {getattr(query, name)} is out of range: it is 0 or more")
    if query.offset and query.stream is None:
        raise _invalid("offset", f"offset {query.offset} is in one stream: stream must be stdout or stderr")


def _invalid(field: str, text: str) -> InvalidJob:
    return InvalidJob(text, problems=[Problem(field, text)])


async def _begin(
    query: LogQuery, outputs: dict[OutputStream, Output], now: Round
) -> tuple[list[LineReader], TailFilter]:
    """Readers at the places where the wanted lines begin, and what leaves out those before the last ones of both."""
    readers, found = [], 0
    for stream, output in outputs.items():
        start, has_news = query.offset, True
        if query.since is not None:
            earlier = now.timeline.before(stream, query.since)
            start, has_news = await output.line_with(earlier, low=start), earlier < now.sizes[stream]
        start, is_cut = await output.character_with(start)
        if query.tail_lines is not None:
            end = now.sizes[stream]
            if not now.is_over:
                end, _ = await output.character_with(end)
            low, end = start, max(start, end)
            start, count = await output.tail(query.tail_lines, low=low, end=end)
            is_cut = is_cut and start == low
            found += count if has_news else 0
        readers.append(LineReader(output, start, is_cut=is_cut))
    surplus = found - query.tail_lines if query.tail_lines is not None else 0
    return readers, TailFilter(surplus, query.since)


class _Follower:
    """One output file, read from its beginning; a line that is not complete is kept for later."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._offset = 0
        self._rest = b""

    async def read(self, *, to_the_end: bool) -> AsyncGenerator[str, None]:
        while chunk := await self._next():
            lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
            text = lines + newline
            if len(self._rest) > MAX_LINE_BYTES:
                text, self._rest = text + self._rest, b""
            if text:
                yield text.decode(errors="replace")
        if to_the_end and self._rest:
            yield self._rest.decode(errors="replace")

    async def _next(self) -> bytes:
        piece = await self._output.read(self._offset)
        if not piece.data:
            return b""
        missing, self._offset = piece.offset - self._offset, piece.offset + len(piece.data)
        if missing == 0:
            return piece.data
        # Below zero, the file was begun anew, and how much is gone is unknown.
        amount = f"{missing} bytes" if missing > 0 else "some"
        return f"\n[{amount} of output dropped: output_limit_mib]\n".encode() + piece.data
