"""The config files that a party's programs get, without secrets."""

import asyncio

from msgspec import Struct

from kusciajob.contracts import ConfigFile, ImageSource, PartyKey, PartySpec, Previewer, StartFailed
from kusciajob.model import failures
from kusciajob.model.errors import InvalidJob, Problem, UnknownAppImage
from kusciajob.model.job import Party
from kusciajob.model.status import Job, TaskState
from kusciajob.model.text import listed, shown
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import JobService


class TaskConfig(Struct, frozen=True):
    """The files of one party, or why they cannot be rendered."""

    alias: str
    party: Party
    files: tuple[ConfigFile, ...] = ()
    problem: str = ""


class TaskConfigs:
    """Renders them as a start would, one party at a time: that can take long."""

    def __init__(self, *, jobs: JobService, images: ImageSource, previewer: Previewer) -> None:
        self._jobs = jobs
        self._images = images
        self._previewer = previewer
        self._rendering = asyncio.Semaphore(1)

    async def of(self, job_id: str, *, alias: str, domain_id: str, role: str, caller: Caller) -> TaskConfig:
        """The config of a task's party; without an alias of the first task, without a domain of the caller's own party.

        Raises what `JobService.query` raises; InvalidJob where there is no such task or party, NotAllowed for another
        domain's.
        """
        if caller.domain and domain_id not in ("", caller.domain):
            caller.refuse(f"read the config of domain {shown(domain_id)}: each domain reads its own")
        job = await self._jobs.query(job_id, caller)
        index = _index_of(job, alias)
        position = _position_of(job, index, domain_id or caller.domain, role)
        task = job.spec.tasks[index]
        try:
            async with self._rendering:
                files = await asyncio.to_thread(self._render, job, index, position)
        except (StartFailed, UnknownAppImage) as error:
            # The caller is the master or the party's own domain: it may read details.
            texts = (str(error), error.detail if isinstance(error, StartFailed) else "")
            return TaskConfig(task.alias, task.parties[position], problem=": ".join(filter(None, texts)))
        return TaskConfig(task.alias, task.parties[position], files)

    def _render(self, job: Job, index: int, position: int) -> tuple[ConfigFile, ...]:
        task = job.status.tasks[index]
        is_placed = task.parties[position].state is not TaskState.PENDING and any(
            party.endpoints for party in task.parties
        )
        party = PartySpec(
            PartyKey(job.number, index, task.attempt, position),
            task.task_id,
            job.spec,
            self._images.get(job.spec.tasks[index].app_image),
            tuple(party.endpoints for party in task.parties) if is_placed else (),
        )
        return self._previewer.config_files(party)


def _index_of(job: Job, alias: str) -> int:
    aliases = [task.alias for task in job.spec.tasks]
    if not alias:
        return 0
    if alias not in aliases:
        text = f"job {shown(job.job_id)} has no task {shown(alias)}; it has: {listed(aliases)}"
        raise InvalidJob(text, problems=[Problem("alias", text)])
    return aliases.index(alias)


def _position_of(job: Job, index: int, domain_id: str, role: str) -> int:
    parties = job.spec.tasks[index].parties
    for position, party in enumerate(parties):
        if domain_id in ("", party.domain_id) and role in ("", party.role):
            return position
    wanted = f"{domain_id}/{role}" if role else domain_id
    known = listed(failures.party_names(parties))
    text = f"task {shown(job.spec.tasks[index].alias)} has no party {shown(wanted)}; it has: {known}"
    raise InvalidJob(text, problems=[Problem("role" if role else "domain_id", text)])
