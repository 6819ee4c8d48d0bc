"""What runs when the server starts is supervised to its end, whatever became of its AppImage meanwhile."""

from kusciajob.model.appimage import AppImage
from kusciajob.model.errors import UnknownAppImage
from kusciajob.model.status import JobState, TaskState
from kusciajob.store.memory import MemoryStore
from tests.support.builders import job_spec, task
from tests.support.house import opened_house
from tests.support.runtimes import ManualRuntime


class NoImages:
    """A catalog from which every AppImage has been removed."""

    def get(self, name: str) -> AppImage | None:
        raise UnknownAppImage(f'AppImage "{name}" is unknown')


async def test_parties_that_run_end_as_usual_after_a_crash_though_their_app_image_is_gone(
    runtime: ManualRuntime,
) -> None:
    store = MemoryStore()
    async with opened_house(runtime, store=store) as house:
        await house.run(job_spec(tasks=[task("first"), task("second", dependencies=["first"])]))
    async with opened_house(runtime, store=store, images=NoImages()) as house:
        await house.until_task(TaskState.RUNNING)
        runtime.end()
        await house.until_task(TaskState.SUCCEEDED)
        status = await house.until(JobState.FAILED)
        assert [entry.state for entry in status.tasks] == ["Succeeded", "Failed"]
        assert 'AppImage "app" is unknown' in status.tasks[1].message  # only a new start needs it
        assert runtime.stops == []
        await house.until_idle()
