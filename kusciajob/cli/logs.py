"""`kusciajob logs`: what the programs of tasks write."""

import asyncio
import json
from collections.abc import Callable, Sequence

import click
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, terminal
from kusciajob.cli.errors import CommandError
from kusciajob.cli.lines import whole_lines
from kusciajob.cli.remote import connected, end_promptly
from kusciajob.client.connection import CallFailed, Connection
from kusciajob.wire.status import Code


class _Source(Struct, frozen=True):
    """One party's log."""

    task_id: str
    domain: str
    alias: str = ""
    """Empty where the log was asked for by its task id."""

    @property
    def mark(self) -> str:
        """What its lines begin with when there are several logs."""
        return terminal.one_line(f"{self.alias} {self.domain}") + " | "


@click.command()
@click.argument("name", metavar="JOB|TASK_ID")
@click.option("--task", "alias", metavar="ALIAS", default="", help="Only this task of the job.")
@click.option("--party", "domain", metavar="DOMAIN", default="", help="Only this domain's party.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written until the tasks end.")
@options.server
@options.line_output
def logs(name: str, alias: str, domain: str, *, follow: bool, server: options.Target, output: str) -> None:
    """Print what the programs of a job, or of one task, write.

    The lines of several parties are marked with task and party. A TASK_ID stands for its first party without --party.
    On a terminal, control characters are shown as escapes; a file or another program gets what was written, as it is.
    JSON output has task, task_id, party and line of each line; task is empty where a TASK_ID was asked for.
    """
    asyncio.run(_print_logs(name, alias, domain, server, follow=follow, is_json=output == "json"))


async def _print_logs(
    name: str, alias: str, domain: str, server: options.Target, *, follow: bool, is_json: bool
) -> None:
    end_promptly()
    async with connected(server) as connection:
        sources = await _find(connection, name, alias, domain)
        show = _printer(is_json=is_json, is_marked=len(sources) > 1)
        printing = [_print(connection, source, show, follow=follow) for source in sources]
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
        return [_Source(name, domain)]
    tasks = [task for task in job.data.status.tasks if task.start_time and alias in ("", task.alias)]
    sources = [
        _Source(task.task_id, party.domain_id, task.alias)
        for task in tasks
        for party in task.parties
        if domain in ("", party.domain_id)
    ]
    if not sources:
        wanted = (f" named {alias}" if alias else "") + (f" with a party {domain}" if domain else "")
        raise CommandError(f"job {name} has no started task{wanted}")
    return sources


def _printer(*, is_json: bool, is_marked: bool) -> Callable[[_Source, str], None] | None:
    """What prints a line; None where nothing is to be done to the lines."""
    if is_json:
        return _print_json
    if terminal.is_terminal():
        # Cleaned, it is one line for the terminal too: nothing else can begin a new one, or go back to its own start.
        return lambda source, line: terminal.pass_on(terminal.clean(f"{source.mark if is_marked else ''}{line}\n"))
    return (lambda source, line: terminal.pass_on(f"{source.mark}{line}\n")) if is_marked else None


def _print_json(source: _Source, line: str) -> None:
    told = {"task": source.alias, "task_id": source.task_id, "party": source.domain, "line": line}
    terminal.say_json(json.dumps(told, ensure_ascii=False))


async def _print(
    connection: Connection, source: _Source, show: Callable[[_Source, str], None] | None, *, follow: bool
) -> None:
    pieces = connection.read_log(source.task_id, domain=source.domain, follow=follow)
    if show is None:
        async for text in pieces:
            terminal.pass_on(text)
        return
    async for lines in whole_lines(pieces):
        for line in lines:
            show(source, line)
