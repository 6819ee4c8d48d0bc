"""`kusciajob wait`: returns when a job is in a state."""

import asyncio
from collections.abc import Collection

import click

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.cli import options, terminal
from kusciajob.cli.durations import Span
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly
from kusciajob.cli.texts import FINAL_STATES, STATES
from kusciajob.client.connection import Connection
from kusciajob.client.errors import Unavailable

FINISHED = "finished"
RETRY_SECONDS = 1.0


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option(
    "--for",
    "wanted",
    metavar="STATE",
    type=click.Choice([FINISHED, *STATES], case_sensitive=False),
    multiple=True,
    default=(FINISHED,),
    show_default=True,
    help="Such as Running, or finished; any of those given.",
)
@click.option("--timeout", type=Span(), help="Wait no longer; the exit code is 1 then.")
@options.server
def wait(job_id: str, wanted: tuple[str, ...], timeout: float | None, server: options.Target) -> None:
    """Return when a job is in one of the states; exit code 1 once it can no longer get there.

    A lost connection is made again.
    """
    asyncio.run(_wait(job_id, wanted, server, timeout))


async def _wait(job_id: str, wanted: tuple[str, ...], server: options.Target, timeout: float | None) -> None:
    end_promptly()
    async with connected(server) as connection:
        await connection.wait_ready()
        try:
            async with asyncio.timeout(timeout):
                await wait_for(connection, job_id, wanted)
        except TimeoutError:
            job = (await connection.ask(connection.v1.GetJob, pb.GetJobRequest(job_id=job_id))).job
            text = f"job {job_id} is {job.summary.state} after {timeout:g} s, not {' or '.join(wanted)}: {job.waiting}"
            raise CommandError(text.rstrip(": ")) from None


async def wait_for(connection: Connection, job_id: str, wanted: Collection[str], *, is_quiet: bool = False) -> None:
    """Return when the job is in one of the states. CommandError once it is not to be expected any more."""
    states = set(wanted) - {FINISHED} | (FINAL_STATES if FINISHED in wanted else frozenset())
    while True:
        try:
            await connection.ask(connection.v1.GetJob, pb.GetJobRequest(job_id=job_id))  # or it is unknown
            request = pb.WatchJobsRequest(job_ids=[job_id], include_existing=True)
            async for event in connection.stream(connection.v1.WatchJobs, request):
                if event.type == pb.WatchJobsResponse.TYPE_DELETED:
                    raise CommandError(f"job {job_id} was deleted")
                state = event.job.state
                if state in states:
                    if not is_quiet:
                        terminal.say_line(f"job {job_id} is {state}")
                    return
                if state in FINAL_STATES:
                    raise CommandError(f"job {job_id} ended: {state}: {event.job.err_msg}".rstrip(": "))
        except Unavailable as error:
            terminal.say_line(f"kusciajob: connection lost, trying again: {error.details}", err=True)
        await asyncio.sleep(RETRY_SECONDS)
