"""A server in memory that is the same before each input: with a job in every state, and one that is not alice's."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.events.hub import Hub
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.model.job import Party, Task
from kusciajob.model.status import Job, JobState
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.logs import TaskOutput
from tests.fuzz.faults import FaultLog
from tests.support.builders import job_spec, new_job
from tests.support.clock import ManualClock
from tests.support.outputs import FixedOutput
from tests.support.polling import PATIENCE_SECONDS
from tests.support.runtimes import ManualRuntime
from tests.support.steps import job_in

CALL_SECONDS = PATIENCE_SECONDS
"""Less than what an input may take: so that it is seen where it hangs."""
LINE = b"said\n"
APP_IMAGE = "a"
"""The AppImage that is there."""
_SPEC = {"deployTemplates": [{"name": "a", "spec": {"containers": [{"name": "a", "command": ["true"]}]}}]}
FOREIGN = new_job(job_spec("foreign", initiator="carol", tasks=[Task("a", "app", (Party("carol"),))]))

T = TypeVar("T")


def _named(job: Job, job_id: str) -> Job:
    tasks = tuple(replace(task, task_id=f"{job_id}-{task.alias}") for task in job.status.tasks)
    return replace(job, spec=replace(job.spec, job_id=job_id), status=replace(job.status, tasks=tasks))


JOBS = (*(_named(job_in(state), state.lower()) for state in JobState), FOREIGN)


class World(Struct, frozen=True):
    """What both edges stand on."""

    service: JobService
    output: TaskOutput
    app_images: AppImageService


@asynccontextmanager
async def opened_world() -> AsyncIterator[World]:
    """A new one, with JOBS and APP_IMAGE in it."""
    store = MemoryStore()
    for job in JOBS:
        await store.create(job)
    hub = Hub(store)
    await hub.open()
    app_images = AppImageService(store=store, catalog=AppImageCatalog(None), clock=ManualClock())
    await app_images.create(APP_IMAGE, _SPEC, MASTER, size=1)
    try:
        yield World(
            JobService(store=store, hub=hub, images=AnyImage(), clock=ManualClock()),
            TaskOutput(store=store, runtime=ManualRuntime(), source=FixedOutput(LINE), images=AnyImage()),
            app_images,
        )
    finally:
        await hub.close()


def finish(work: Coroutine[Any, Any, T]) -> T:
    """The result; AssertionError on an error in the log or a task left behind, TimeoutError on a hang."""

    async def bounded() -> T:
        async with asyncio.timeout(CALL_SECONDS):
            result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    faults: list[str] = []
    log = FaultLog(faults)
    logging.getLogger().addHandler(log)
    try:
        with asyncio.Runner(debug=False) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: faults.append(repr(context)))
            result = runner.run(bounded())
    finally:
        logging.getLogger().removeHandler(log)
    assert not faults, faults
    return result
