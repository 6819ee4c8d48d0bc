"""`kusciajob watch`: what happens to jobs, as it happens."""

import asyncio
from contextlib import aclosing
from datetime import datetime

import click

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, tables, terminal, texts
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly, reach, tell_outage
from kusciajob.client.calling import Calling
from kusciajob.client.watching import Choice
from kusciajob.client.watching import watch as watch_jobs


@click.command()
@click.argument("job_id", metavar="[JOB]", default="")
@click.option(
    "--timeout",
    "timeout_seconds",
    metavar="SECONDS",
    type=click.IntRange(1, 2**31 - 1),
    help="Watch no longer than that.",
)
@options.server
@options.output
def watch(job_id: str, timeout_seconds: int | None, server: options.Target, output: str) -> None:
    """Follow one job until it is finished, or all jobs until Ctrl-C.

    Every job is told as it is first, then each change. With a JOB the exit code is 0 only when it has Succeeded.
    A lost connection is made again. JSON output has one event a line.
    """
    asyncio.run(_watch(job_id, timeout_seconds, server, is_json=output == "json"))


async def _watch(job_id: str, timeout_seconds: int | None, server: options.Target, *, is_json: bool) -> None:
    end_promptly()
    report = _Report(job_id, is_json=is_json)
    async with connected(server) as calling:
        await reach(calling)
        await _follow(calling, report, timeout_seconds)
    if job_id and not report.is_complete:
        raise CommandError(f"job {job_id} is not finished after {timeout_seconds} seconds")
    if report.state != "Succeeded" and job_id:
        raise CommandError(f"job {job_id} ended: {report.state}")


async def _follow(calling: Calling, report: "_Report", timeout: float | None) -> None:
    """Feed the report until it is complete, over as many connections as that takes."""
    if report.job_id:  # the stream would be silent about a job that does not exist
        request = pb.BatchQueryJobStatusRequest(job_ids=[report.job_id])
        await calling.ask(calling.stubs.jobs.BatchQueryJobStatus, request)
    choice = Choice(jobs=(report.job_id,) if report.job_id else ())
    async with aclosing(watch_jobs(calling, choice, timeout=timeout, on_outage=tell_outage)) as changes:
        async for change in changes:
            job = pb.JobStatus(job_id=change.job_id, status=change.status.raw)
            report.take(pb.WatchJobEventResponse(type=change.type.value, object=job))
            if report.is_complete:
                return


class _Report:
    """Prints events, and knows when the job asked for is over."""

    def __init__(self, job_id: str, *, is_json: bool) -> None:
        self.job_id = job_id
        self.state = ""
        self.is_complete = False
        self._is_json = is_json
        self._last: dict[str, pb.JobStatus] = {}
        self._told = texts.Told()

    def take(self, event: pb.WatchJobEventResponse) -> None:
        job = event.object
        if self._is_json:
            tables.print_json(event, indent=None)
        else:
            self._print_lines(event)
        if job.job_id == self.job_id:
            self.state = "deleted" if event.type == pb.DELETED else job.status.state
            self.is_complete = event.type == pb.DELETED or self.state in texts.FINAL_STATES

    def _print_lines(self, event: pb.WatchJobEventResponse) -> None:
        job = event.object
        match event.type:
            case pb.DELETED:
                self._last.pop(job.job_id, None)
                lines = [f"{job.job_id} deleted"]
            case pb.ERROR:
                lines = [f"{job.job_id} fault: {job.status.err_msg}"]
            case _:
                lines = texts.changes(self._last.get(job.job_id), job, self._told)
                self._last[job.job_id] = job
        now = datetime.now().strftime("%H:%M:%S")
        for line in lines:
            terminal.say_line(f"{now} {line}")
