"""A job's progress on stderr: an overview that moves on a terminal, else one line for each change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from rich.text import Text

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import overview, tables, terminal, texts
from kusciajob.cli.frame import Frame

REFRESH_SECONDS = 0.2


class Progress:
    """Takes each new status of one job.

    Printing happens in a thread, one print at a time: the server in this process goes on when the terminal is held.
    """

    def __init__(self, *, is_moving: bool) -> None:
        self.note = ""
        """Shown beside the job's state."""
        self.told = texts.Told()
        self._is_moving = is_moving and terminal.can_move()
        self._console = tables.console(stderr=True)
        self._latest: pb.JobStatus | None = None
        self._turn = asyncio.Lock()

    async def take(self, job: pb.JobStatus) -> None:
        """Show this status from now on."""
        before, self._latest = self._latest, job
        if not self._is_moving:
            now = datetime.now().strftime("%H:%M:%S")
            for line in texts.changes(before, job, self.told):
                await self.printed(terminal.say_line, f"{now} {line}", err=True)

    async def printed(self, print_: Callable[..., None], *arguments: Any, **more: Any) -> None:
        """Call that function when nothing else prints."""
        async with self._turn:
            await asyncio.to_thread(print_, *arguments, **more)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Keep the terminal up to date within the block, and clear it after."""
        if not self._is_moving:
            yield
            return
        is_over = asyncio.Event()
        painting = asyncio.create_task(self._paint_until(is_over))
        try:
            yield
        finally:
            is_over.set()
            await painting

    async def _paint_until(self, is_over: asyncio.Event) -> None:
        frame = Frame(self._console)
        while not is_over.is_set():
            columns, rows = self._console.size
            await self.printed(frame.paint, self._lines(rows, columns), columns=columns)
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), REFRESH_SECONDS)
        await self.printed(frame.clear, columns=self._console.size.width)

    def _lines(self, rows: int, columns: int) -> list[Text]:
        if self._latest is None:
            return [Text("starting")]
        # The cursor has a line of its own.
        return overview.lines(self._latest, rows=max(1, rows - 1), columns=columns, note=self.note)
