"""`kusciajob audit` and `info`: who asked the server for what, and what it is."""

import asyncio
import datetime

import click

from kusciajob._gen.kusciajob.v1 import jobs_pb2, server_pb2
from kusciajob.cli import options, tables, texts
from kusciajob.cli.durations import Moment, set_moments
from kusciajob.cli.remote import connected

_PAGE = 1000
_COLUMNS = ("TIME", "WHO", "CALL", "ON", "CODE", "WHY")


@click.command()
@click.option("--job", "job_id", metavar="JOB", default="", help="About this job, though it may be gone.")
@click.option("--caller", metavar="DOMAIN", default="", help='By this domain, or by "master".')
@click.option("--since", type=Moment(), help="Since then: 2h means the last two hours.")
@click.option("--until", type=Moment(), help="Before then.")
@options.limit
@options.server
@options.line_output
def audit(
    *,
    job_id: str,
    caller: str,
    since: float | None,
    until: float | None,
    limit: int,
    server: options.Target,
    output: str,
) -> None:
    """Show the calls that changed something or wanted to, newest first, accepted and refused."""
    request = jobs_pb2.ListAuditEntriesRequest(job_id=job_id, caller=caller, page_size=min(limit or _PAGE, _PAGE))
    set_moments(request, after=since, before=until)
    entries, is_more = asyncio.run(_audit(server, request, limit))
    if output == "json":
        for entry in entries:
            tables.print_json(entry, indent=None)
        return
    rows = [
        (
            texts.local_time(texts.iso(entry, "time")),
            f"{entry.caller} {entry.peer}".strip(),
            entry.method,
            entry.job_id,
            str(entry.code),
            entry.reason,
        )
        for entry in entries
    ]
    tables.print_table(_COLUMNS, rows)
    if is_more:
        tables.say_cut(limit)


@click.command()
@options.server
@options.output
def info(server: options.Target, output: str) -> None:
    """Show what the server is, what it limits, and what it grants to the caller."""
    told = asyncio.run(_info(server))
    if output == "json":
        tables.print_json(told)
        return
    caller = told.caller
    facts = [
        ("version", told.version),
        ("runtime", told.runtime),
        ("up for", str(datetime.timedelta(seconds=told.uptime.seconds))),
        ("revision", str(told.revision)),
        ("capabilities", ", ".join(told.capabilities)),
        ("you are", "the master" if caller.is_master else f"domain {caller.domain_id}"),
        ("you see", f"{caller.sees_jobs} jobs"),
        ("you may create for", ", ".join(caller.may_create_for) or "any initiator"),
        *((name, str(limit) if limit else "no limit") for name, limit in sorted(told.limits.items())),
    ]
    tables.print_facts([fact for fact in facts if fact[1]])


async def _audit(
    server: options.Target, request: jobs_pb2.ListAuditEntriesRequest, limit: int
) -> tuple[list[jobs_pb2.AuditEntry], bool]:
    """At most so many entries (0: all), and whether there are more."""
    entries: list[jobs_pb2.AuditEntry] = []
    async with connected(server) as calling:
        async for page in calling.pages(calling.stubs.v1.ListAuditEntries, request):
            entries += page.entries
            if limit and len(entries) >= limit:
                return entries[:limit], len(entries) > limit or bool(page.next_page_token)
    return entries, False


async def _info(server: options.Target) -> server_pb2.GetServerInfoResponse:
    async with connected(server) as calling:
        request, method = server_pb2.GetServerInfoRequest(), calling.stubs.server.GetServerInfo
        response: server_pb2.GetServerInfoResponse = await calling.ask(method, request)
        return response
