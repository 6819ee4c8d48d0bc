"""A job's progress on stderr: a table that moves on a terminal, else one line for each change."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Group
from rich.live import Live
from rich.text import Text

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import tables, terminal, texts

REFRESHES_PER_SECOND = 5


class Progress:
    """Takes each new status of one job."""

    def __init__(self) -> None:
        self._console = tables.console(stderr=True)
        self._latest: pb.JobStatus | None = None

    def take(self, job: pb.JobStatus) -> None:
        """Show this status from now on."""
        if not self._console.is_terminal:
            now = datetime.now().strftime("%H:%M:%S")
            for line in texts.changes(self._latest, job):
                terminal.say_line(f"{now} {line}", err=True)
        self._latest = job

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the terminal up to date within the block, and clear it after."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        ):
            yield

    def _render(self) -> Group | Text:
        job = self._latest
        if job is None:
            return Text("starting")
        status = job.status
        head = f"job {job.job_id}: {status.state}, {texts.elapsed(status.create_time, status.end_time)}"
        return Group(tables.line(head), tables.tasks_table(status))
