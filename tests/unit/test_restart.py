"""A restart is seen by all, also where nothing is left to do: Running first, and who restarted."""

from collections.abc import Sequence

import pytest

from kusciajob.model import transitions
from kusciajob.model.history import NO_NOTES, Notes
from kusciajob.model.moves import Operation
from kusciajob.model.status import Job, JobState, JobStatus, TaskState
from kusciajob.store.memory import MemoryStore
from tests.support.builders import NOW
from tests.support.house import opened_house
from tests.support.runtimes import ManualRuntime
from tests.support.stores import GuardedStore

BY_MASTER = "Party: master execute the cmd: Restart. Reason: why not"


class LastInstantStore(GuardedStore):
    """Commits a command just before the success of the job's last task."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(MemoryStore())
        self._operation: Operation | None = operation

    async def replace(
        self, job: Job, *, passed: Sequence[JobStatus] = (), fault: str = "", notes: Notes = NO_NOTES
    ) -> Job:
        if self._operation is not None and job.status.state is JobState.SUCCEEDED:
            stored = await self.get(job.job_id)
            asked = transitions.request(stored, self._operation, by="alice", reason="", now=NOW)
            self._operation = None
            await super().replace(asked)
        return await super().replace(job, passed=passed, fault=fault, notes=notes)


@pytest.mark.parametrize(
    ("operation", "state"), [(Operation.STOP, JobState.FAILED), (Operation.SUSPEND, JobState.SUSPENDED)]
)
async def test_a_restart_after_the_last_success_is_told_before_the_end(operation: Operation, state: JobState) -> None:
    runtime = ManualRuntime()
    async with opened_house(runtime, store=LastInstantStore(operation)) as house:
        await house.create("job-1")
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        assert (await house.until(state)).tasks[0].state is TaskState.SUCCEEDED
        await house.ask(Operation.RESTART)
        await house.until(JobState.SUCCEEDED)
        *_, before, restarted, _end = house.statuses()
        assert (before.state, restarted.state) == (state, JobState.RUNNING)
        assert restarted.message == BY_MASTER
        assert restarted.phase.ended_at is None
        await house.until_idle()
