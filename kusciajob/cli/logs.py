"""`kusciajob logs`: what the programs of tasks write."""

import asyncio
import sys
from collections.abc import Sequence

import click
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, texts
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly
from kusciajob.client.connection import CallFailed, Connection
from kusciajob.wire.status import Code


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
        _Source(task.task_id, party.domain_id, f"{texts.one_line(task.alias)} {texts.one_line(party.domain_id)} | ")
        for task in tasks
        for party in task.parties
        if domain in ("", party.domain_id)
    ]
    if not sources:
        wanted = (f" named {alias}" if alias else "") + (f" with a party {domain}" if domain else "")
        raise CommandError(f"job {name} has no started task{wanted}")
    return sources


async def _print(connection: Connection, source: _Source, *, is_marked: bool, follow: bool) -> None:
    rest = ""
    async for text in connection.read_log(source.task_id, domain=source.domain, follow=follow):
        if not is_marked:
            _write(text)
            continue
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            _write(f"{source.mark}{line}\n")
    if rest:
        _write(f"{source.mark}{rest}\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
