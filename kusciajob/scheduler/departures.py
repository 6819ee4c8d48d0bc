"""Deleted jobs whose programs may still run, and the tasks that wait for their end."""

from collections.abc import Callable, Collection


class Departures:
    """Knows which task ids are still held by programs of deleted jobs.

    A job that takes over such a task id is scheduled after `begin`, because the log is read in order.
    """

    def __init__(self) -> None:
        self._holders: dict[int, tuple[str, frozenset[str] | None]] = {}
        self._waiting: dict[int, Callable[[], None]] = {}

    def begin(self, number: int, holder: str, task_ids: Collection[str] | None) -> None:
        """A job was deleted, and programs of these tasks may still run. None: those of any task."""
        if task_ids is None or task_ids:
            self._holders[number] = holder, None if task_ids is None else frozenset(task_ids)

    def end(self, number: int) -> None:
        """Nothing of the job runs any more. Wake all who wait."""
        if self._holders.pop(number, None) is not None:
            for wake in list(self._waiting.values()):
                wake()

    def holder(self, task_id: str) -> str:
        """The deleted job whose end the task must await; empty if there is none."""
        for holder, task_ids in self._holders.values():
            if task_ids is None or task_id in task_ids:
                return holder
        return ""

    def enter(self, job: int, wake: Callable[[], None]) -> None:
        """From now on each end wakes the job. To miss none, do not await anything between the look and this call."""
        self._waiting[job] = wake

    def leave(self, job: int) -> None:
        """Stop waiting. A job that does not wait may call it, too."""
        self._waiting.pop(job, None)
