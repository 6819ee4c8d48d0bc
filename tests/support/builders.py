"""Small valid values for tests; each takes what the test is about as an argument."""

from collections.abc import Sequence

from kusciajob.model import transitions
from kusciajob.model.job import JobSpec, Party, ScheduleMode, Task
from kusciajob.model.status import Job

NOW = 1_700_000_000.25


def task(alias: str = "psi", *, task_id: str = "", input_config: str = "", dependencies: Sequence[str] = ()) -> Task:
    return Task(
        alias=alias,
        app_image="app",
        parties=(Party("alice", "client"), Party("bob", "server")),
        task_id=task_id,
        dependencies=tuple(dependencies),
        task_input_config=input_config,
    )


def job_spec(
    job_id: str = "job-1",
    *,
    tasks: Sequence[Task] = (),
    initiator: str = "alice",
    max_parallelism: int = 1,
    custom_fields: dict[str, str] | None = None,
    schedule_mode: ScheduleMode = ScheduleMode.BEST_EFFORT,
) -> JobSpec:
    """One task of two parties unless tasks are given."""
    return JobSpec(
        job_id=job_id,
        initiator=initiator,
        tasks=tuple(tasks) or (task(),),
        max_parallelism=max_parallelism,
        custom_fields=custom_fields or {},
        schedule_mode=schedule_mode,
    )


def new_job(spec: JobSpec | str = "job-1", *, awaited: tuple[str, ...] = (), now: float = NOW) -> Job:
    """A job as the service hands it to the store, from a specification or just a job id.

    A task without an id gets `<job id>-<alias>`.
    """
    if isinstance(spec, str):
        spec = job_spec(spec)
    task_ids = [task.task_id or f"{spec.job_id}-{task.alias}" for task in spec.tasks]
    return transitions.create(spec, task_ids=task_ids, now=now, awaited=awaited)
