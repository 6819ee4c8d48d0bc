"""Deleted jobs of which something may still run, and the tasks that wait for their end."""

from collections.abc import Callable, Collection


class Departures:
    """Tells whether what ran under a task id in a deleted job is gone.

    `begin` is called before a job that has taken the task id over can be taken up, as the log has its order.
    """

    def __init__(self) -> None:
        self._holders: dict[int, tuple[str, frozenset[str] | None]] = {}
        self._waiting: dict[int, Callable[[], None]] = {}

    def begin(self, number: int, holder: str, task_ids: Collection[str] | None) -> None:
        """A job has been deleted while programs of these tasks may run; None is any task at all."""
        if task_ids is None or task_ids:
            self._holders[number] = holder, None if task_ids is None else frozenset(task_ids)

    def end(self, number: int) -> None:
        """Nothing of the job runs any more: all who wait look again."""
        if self._holders.pop(number, None) is not None:
            for wake in list(self._waiting.values()):
                wake()

    def holder(self, task_id: str) -> str:
        """The job that is awaited before the task may start; empty when there is none."""
        for holder, task_ids in self._holders.values():
            if task_ids is None or task_id in task_ids:
                return holder
        return ""

    def enter(self, job: int, wake: Callable[[], None]) -> None:
        """Be woken by each end from now on. To miss nothing, enter without awaiting anything after the look."""
        self._waiting[job] = wake

    def leave(self, job: int) -> None:
        """Wait no more; not to wait at all is fine."""
        self._waiting.pop(job, None)
