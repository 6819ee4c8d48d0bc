"""`kusciajob wait`: returns when a job is in a state."""

import asyncio
from collections.abc import Collection

import click

from kusciajob.cli import options, terminal
from kusciajob.cli.durations import Span
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly, reach, tell_outage
from kusciajob.cli.texts import FINAL_STATES, STATES
from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.calling import Calling
from kusciajob.client.errors import JobDeleted, JobEnded, WaitTimeout

FINISHED = "finished"


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
    async with connected(server) as calling:
        await reach(calling)
        await wait_for(calling, job_id, wanted, timeout=timeout)


async def wait_for(
    calling: Calling, job_id: str, wanted: Collection[str], *, timeout: float | None = None, is_quiet: bool = False
) -> None:
    """Return when the job is in one of the states. CommandError once it is not to be expected any more."""
    states = set(wanted) - {FINISHED} | (FINAL_STATES if FINISHED in wanted else frozenset())
    try:
        status = await AsyncJob(calling, job_id).wait(*states, timeout=timeout, on_outage=tell_outage)
    except JobDeleted:
        raise CommandError(f"job {job_id} was deleted") from None
    except JobEnded as error:
        raise CommandError(f"job {job_id} ended: {error.status.state}: {error.status.err_msg}".rstrip(": ")) from None
    except WaitTimeout as error:
        text = f"job {job_id} is {error.status.state} after {timeout:g} s, not {' or '.join(wanted)}: {error.waiting}"
        raise CommandError(text.rstrip(": ")) from None
    if not is_quiet:
        terminal.say_line(f"job {job_id} is {status.state}")
