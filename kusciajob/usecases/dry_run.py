"""What is wrong with a job, or how it would run. Nothing is stored."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from kusciajob.contracts import ImageSource, PartyKey, PartyPreview, PartySpec, Previewer, StartFailed
from kusciajob.model import graph
from kusciajob.model.appimage import AppImage
from kusciajob.model.errors import Problem, UnknownAppImage, UnknownRole
from kusciajob.model.job import JobSpec, task_ids
from kusciajob.model.limits import MAX_PARTIES, LimitedJob
from kusciajob.model.rules import MAX_TASKS
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.jobs import FoundImage, JobService, task_id_suffixes


class Verdict(Struct, frozen=True):
    """All problems of a job; without one, how it would run. `previews` has one for each party of each task."""

    problems: tuple[Problem, ...]
    waves: Sequence[Sequence[str]] = ()
    task_ids: Sequence[str] = ()
    previews: Sequence[Sequence[PartyPreview]] = ()


class DryRun:
    """Judges jobs, one at a time: to render what they would execute can take long."""

    def __init__(self, *, jobs: JobService, images: ImageSource, previewer: Previewer) -> None:
        self._jobs = jobs
        self._images = images
        self._previewer = previewer
        self._judging = asyncio.Semaphore(1)

    async def judge(self, job: LimitedJob, spec: JobSpec | None, known: Iterable[Problem], caller: Caller) -> Verdict:
        """The verdict on a job as it was asked for. `spec` is None where that breaks the `known` rules."""
        async with self._judging:
            images = {name: self._find(name) for name in {task.app_image for task in job.tasks[:MAX_TASKS]} if name}
            found = [*known, *await self._jobs.objections(job, spec, images, caller)]
            roles = list(_of_roles(job, images))
            if spec is None or any(problem.field == "initiator" for problem in found):
                # What another initiator's job would execute is not for this caller.
                return Verdict(tuple(found + roles))
            ids = task_ids(spec, task_id_suffixes(len(spec.tasks)))
            previews: list[list[PartyPreview]] = []
            unusable = {problem.field for problem in roles}
            for index, task in enumerate(spec.tasks):
                image = images[task.app_image]
                if not isinstance(image, UnknownAppImage):
                    own, failures = await asyncio.to_thread(self._preview, spec, index, ids[index], image, caller)
                    previews.append(own)
                    found += [problem for problem in failures if f"{problem.field}.role" not in unusable]
            if found or roles:
                return Verdict(tuple(found + roles))
            waves = graph.waves([(task.alias, task.dependencies) for task in spec.tasks])
            return Verdict((), waves, ids, previews)

    def _find(self, name: str) -> FoundImage:
        try:
            return self._images.get(name)
        except UnknownAppImage as unknown:
            return unknown

    def _preview(
        self, spec: JobSpec, index: int, task_id: str, image: AppImage | None, caller: Caller
    ) -> tuple[list[PartyPreview], list[Problem]]:
        """What the parties of a task would execute, and why some could not be started."""
        previews: list[PartyPreview] = []
        failures: list[Problem] = []
        for position, party in enumerate(spec.tasks[index].parties):
            try:
                own = PartySpec(PartyKey(0, index, 1, position), task_id, spec, image)
                previews.append(self._previewer.preview(own))
            except StartFailed as error:
                # Details are for the master and the party's own domain.
                is_told = error.detail and caller.domain in ("", party.domain_id)
                text = f"{error}: {error.detail}" if is_told else str(error)
                failures.append(Problem(f"tasks[{index}].parties[{position}]", text))
        return previews, failures


def _of_roles(job: LimitedJob, images: Mapping[str, FoundImage]) -> Iterable[Problem]:
    """Parties whose role their task's AppImage does not have."""
    for index, task in enumerate(job.tasks[:MAX_TASKS]):
        image = images.get(task.app_image)
        for position, party in enumerate(task.parties[:MAX_PARTIES]):
            try:
                if isinstance(image, AppImage):
                    image.template_for(party.role)
            except UnknownRole as error:
                yield Problem(f"tasks[{index}].parties[{position}].role", str(error))
