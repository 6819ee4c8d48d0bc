"""The use cases of the log API: what the programs of a task have written, and where they run."""

import asyncio
from collections.abc import AsyncIterator

from kusciajob.contracts import ImageSource, JobStore, Node, OutputSource, OutputStream, PartyKey, Runtime
from kusciajob.model import failures
from kusciajob.model.appimage import DeployTemplate
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import InvalidJob, JobError, JobNotFound, NotAllowed, TaskNotFound
from kusciajob.model.status import JobStatus, JobSummary, TaskState
from kusciajob.model.text import listed, shown
from kusciajob.usecases.jobs import Caller

POLL_SECONDS = 0.2
MAX_LINE_BYTES = 64 * 1024
_ENDED = frozenset({TaskState.SUCCEEDED, TaskState.FAILED})


class TaskOutput:
    """Reads what a task's programs write, in its latest attempt: while they run, after they ended, after a restart."""

    def __init__(self, *, store: JobStore, runtime: Runtime, source: OutputSource, images: ImageSource) -> None:
        self._store = store
        self._runtime = runtime
        self._source = source
        self._images = images

    async def read(
        self, task_id: str, *, domain: str, replica: int, caller: Caller, follow: bool, container: str = ""
    ) -> AsyncIterator[str]:
        """The output of one party, stdout before stderr; when it follows, whole lines as they come.

        The party is chosen by `domain`, or `domain/role` where a domain has several. Without it: the caller's own
        party; for the master, the task's first. Raises InvalidJob (also for an unknown container), TaskNotFound,
        NotAllowed.
        """
        key = await self._party(task_id, domain=domain, replica=replica, caller=caller)
        if container:
            await self._check_container(container, task_id, key)
        while follow and not key.attempt and not await self._is_ended(task_id, key):
            await asyncio.sleep(POLL_SECONDS)  # it has yet to start
            key = await self._party(task_id, domain=domain, replica=replica, caller=caller)
        followers = [_Follower(self._source, key, stream, replica) for stream in OutputStream]
        while True:
            is_last = not follow or await self._is_ended(task_id, key)
            for follower in followers:
                async for text in follower.read(to_the_end=is_last):
                    yield text
            if is_last:
                return
            await asyncio.sleep(POLL_SECONDS)

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
        return task.parties[key.party].state in _ENDED


class _Follower:
    """One output file, read from its beginning; a line that is not complete is kept for later."""

    def __init__(self, source: OutputSource, key: PartyKey, stream: OutputStream, replica: int) -> None:
        self._source = source
        self._key = key
        self._stream = stream
        self._replica = replica
        self._offset = 0
        self._rest = b""

    async def read(self, *, to_the_end: bool) -> AsyncIterator[str]:
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
        piece = await self._source.read_output(self._key, self._stream, self._offset, replica=self._replica)
        if not piece.data:
            return b""
        missing, self._offset = piece.offset - self._offset, piece.offset + len(piece.data)
        if missing == 0:
            return piece.data
        # Below zero, the file was begun anew, and how much is gone is unknown.
        amount = f"{missing} bytes" if missing > 0 else "some"
        return f"\n[{amount} of output dropped: output_limit_mib]\n".encode() + piece.data
