"""`kusciajob logs`: what the programs of tasks write."""

import asyncio
from collections.abc import Sequence

import click
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, terminal
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly
from kusciajob.client.connection import CallFailed, Connection
from kusciajob.wire.status import Code

MAX_LINE_CHARACTERS = 64 * 1024
"""A longer line is printed in pieces, each a line of its own where lines are marked or cleaned."""


class _Source(Struct, frozen=True):
    """One party's log, and what its lines are marked with when there are several."""

    task_id: str
    domain: str
    mark: str


@click.command()
@click.argument("name", metavar="JOB|TASK_ID")
@click.option("--task", "alias", metavar="ALIAS", default="", help="Only this task of the job.")
@click.option("--party", "domain", metavar="DOMAIN", default="", help="Only this domain's party.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written until the tasks end.")
@options.server
def logs(name: str, alias: str, domain: str, follow: bool, server: options.Target) -> None:
    """Print what the programs of a job, or of one task, write.

    The lines of several parties are marked with task and party. A TASK_ID stands for its first party without --party.
    On a terminal, control characters are shown as escapes; a file or another program gets what was written, as it is.
    """
    asyncio.run(_print_logs(name, alias, domain, server, follow=follow))


async def _print_logs(name: str, alias: str, domain: str, server: options.Target, *, follow: bool) -> None:
    end_promptly()
    async with connected(server) as connection:
        sources = await _find(connection, name, alias, domain)
        is_marked = len(sources) > 1
        printing = [_print(connection, source, is_marked=is_marked, follow=follow) for source in sources]
        if follow:
            await asyncio.gather(*printing)
        else:
            for each in printing:
                await each


async def _find(connection: Connection, name: str, alias: str, domain: str) -> Sequence[_Source]:
    """The logs of the job of that name, else of the task."""
    try:
        job = await connection.call(connection.jobs.QueryJob, pb.QueryJobRequest(job_id=name))
    except CallFailed as error:
        if error.code != Code.QUERY_FAILED or alias:
            raise
        return [_Source(name, domain, "")]
    tasks = [task for task in job.data.status.tasks if task.start_time and alias in ("", task.alias)]
    sources = [
        _Source(task.task_id, party.domain_id, terminal.one_line(f"{task.alias} {party.domain_id}") + " | ")
        for task in tasks
        for party in task.parties
        if domain in ("", party.domain_id)
    ]
    if not sources:
        wanted = (f" named {alias}" if alias else "") + (f" with a party {domain}" if domain else "")
        raise CommandError(f"job {name} has no started task{wanted}")
    return sources


async def _print(connection: Connection, source: _Source, *, is_marked: bool, follow: bool) -> None:
    is_raw = not terminal.is_terminal()
    rest = ""
    async for text in connection.read_log(source.task_id, domain=source.domain, follow=follow):
        if is_raw and not is_marked:
            terminal.pass_on(text)
            continue
        *lines, rest = (rest + text).split("\n")
        if len(rest) > MAX_LINE_CHARACTERS:
            lines, rest = [*lines, rest], ""
        for line in lines:
            _print_line(source.mark, line, is_raw=is_raw)
    if rest:
        _print_line(source.mark, rest, is_raw=is_raw)


def _print_line(mark: str, line: str, *, is_raw: bool) -> None:
    # Cleaned, it is one line for the terminal too: nothing else can begin a new one, or go back to its own start.
    terminal.pass_on(f"{mark}{line}\n" if is_raw else terminal.clean(f"{mark}{line}\n"))
