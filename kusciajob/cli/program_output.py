"""What the programs of a job write, as they write it, each line marked with task and party."""

import asyncio
from collections.abc import Awaitable, Callable

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import terminal
from kusciajob.client.calling import Calling
from kusciajob.client.errors import CallFailed
from kusciajob.client.lines import whole_lines
from kusciajob.model.failures import party_names

Print = Callable[..., Awaitable[None]]


class ProgramOutput:
    """Follows the output of every task of one job from when it starts until it ends.

    `printed(print, *arguments)` awaits the call of a function that prints. While a terminal takes no more nothing more
    is read, so there is never more in memory than a piece for each party that runs.
    """

    def __init__(self, calling: Calling, request: pb.CreateJobRequest, printed: Print) -> None:
        self._calling = calling
        self._printed = printed
        self._parties = {task.alias: _names(task) for task in request.tasks}
        self._reading: dict[str, list[asyncio.Task[None]]] = {}
        self._colours = 0

    def take(self, job: pb.JobStatus) -> None:
        """Begin to read of each task that has started."""
        for task in job.status.tasks:
            if task.start_time and task.task_id not in self._reading:
                self._reading[task.task_id] = [
                    asyncio.create_task(self._follow(task, name)) for name in self._parties[task.alias]
                ]

    async def finish(self) -> None:
        """All is printed that the programs of ended tasks have written."""
        await asyncio.gather(*(each for tasks in self._reading.values() for each in tasks))

    def cancel(self) -> None:
        """Read no more."""
        for tasks in self._reading.values():
            for each in tasks:
                each.cancel()

    async def _follow(self, task: pb.TaskStatus, party: str) -> None:
        mark, colour = f"{task.alias}/{party} | ", self._colours
        self._colours += 1
        try:
            async for lines in whole_lines(self._calling.plain_log(task.task_id, party, follow=True)):
                await self._printed(terminal.say_marked, mark, lines, colour)
        except CallFailed as error:
            await self._printed(terminal.say_marked, mark, [f"(cannot be read: {error})"], colour)


def _names(task: pb.Task) -> list[str]:
    """What tells the parties apart, for readers and for QueryLog. One that is listed twice runs once."""
    parties = {(party.domain_id, party.role): party for party in task.parties}
    return party_names(list(parties.values()))
