"""`kusciajob list`: which jobs there are, and what becomes of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.cli import options, tables, terminal, texts
from kusciajob.cli.durations import Moment, set_moments
from kusciajob.cli.pairs import pair_of
from kusciajob.cli.remote import connected, end_promptly
from kusciajob.cli.texts import STATES
from kusciajob.client.calling import Calling

MAX_PAGE = 1000
_COLUMNS = ("JOB", "STATE", "TASKS", "INITIATOR", "CREATED", "TIME", "MESSAGE")
_WIDE = ("PARTIES", "IMAGES", "FIELDS", "LABELS", "REVISION")
_FINAL_TASKS = ("Succeeded", "Failed")


@click.command(name="list")
@click.option(
    "--state", "states", type=click.Choice(STATES, case_sensitive=False), multiple=True, help="Any of those given."
)
@click.option("--domain", "party", metavar="DOMAIN", default="", help="Where this domain is a party.")
@click.option("--initiator", metavar="DOMAIN", default="", help="Of this initiator.")
@click.option("--image", "app_image", metavar="NAME", default="", help="Where a task has this AppImage.")
@click.option("--prefix", "job_id_prefix", metavar="TEXT", default="", help="Whose ids begin so.")
@click.option("--field", "custom_fields", metavar="KEY=VALUE", multiple=True, help="With this custom field; all given.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="With this label; all given.")
@click.option("--since", type=Moment(), help="Created since then: 2h means two hours ago.")
@click.option("--until", type=Moment(), help="Created before then.")
@click.option("--ended-since", type=Moment(), help="Ended since then.")
@click.option("--oldest-first", is_flag=True, help="In the order of creation, not newest first.")
@options.limit
@click.option("-w", "--watch", "watches", is_flag=True, help="Go on with what becomes of them, until Ctrl-C.")
@options.server
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "name", "json"]),
    default="table",
    show_default=True,
    help="table or wide for people, name or json (one job or event a line) for programs.",
)
def list_jobs(*, limit: int, watches: bool, server: options.Target, output: str, **chosen: Any) -> None:
    """List jobs, newest first. All filters that are given must pass."""
    for name in ("custom_fields", "labels"):
        for text in chosen[name]:
            pair_of(text, option="--field" if name == "custom_fields" else "--label")
    oldest_first = chosen.pop("oldest_first")
    asyncio.run(
        _list(server, _filters(**chosen), limit=limit, oldest_first=oldest_first, watches=watches, output=output)
    )


def _filters(
    *, since: float | None, until: float | None, ended_since: float | None, **chosen: Any
) -> pb.ListJobsRequest:
    request = pb.ListJobsRequest(**chosen)
    set_moments(request, created_after=since, created_before=until, ended_after=ended_since)
    return request


async def _list(
    server: options.Target,
    filters: pb.ListJobsRequest,
    *,
    limit: int,
    oldest_first: bool,
    watches: bool,
    output: str,
) -> None:
    end_promptly()
    async with connected(server) as calling:
        request = pb.ListJobsRequest(oldest_first=oldest_first, page_size=min(limit, MAX_PAGE) if limit else MAX_PAGE)
        request.MergeFrom(filters)
        rows: list[Sequence[str | Any]] = []
        left = limit or None
        revision, is_more = None, False
        async for page in calling.pages(calling.stubs.v1.ListJobs, request):
            revision = page.revision if revision is None else revision
            jobs = page.jobs if left is None else page.jobs[:left]
            left = None if left is None else left - len(jobs)
            if output in ("json", "name"):
                for job in jobs:
                    _print(job, output)
            else:
                rows += [_row(job, is_wide=output == "wide") for job in jobs]
            is_more = bool(page.next_page_token) or len(jobs) < len(page.jobs)
            if left == 0:
                break
        if output in ("table", "wide"):
            tables.print_table(_COLUMNS + (_WIDE if output == "wide" else ()), rows)
            if is_more:
                tables.say_cut(limit)
        if watches:
            await _follow(calling, filters, revision or 0, output)


async def _follow(calling: Calling, filters: pb.ListJobsRequest, revision: int, output: str) -> None:
    """Tell what happens after that revision, until interrupted."""
    request = pb.WatchJobsRequest(after_revision=revision)
    for field, value in filters.ListFields():
        if isinstance(value, str):
            setattr(request, field.name, value)
        else:
            getattr(request, field.name).MergeFrom(value)
    async for event in calling.stream(calling.stubs.v1.WatchJobs, request):
        if output == "json":
            tables.print_json(event, indent=None)
        elif event.type != pb.WatchJobsResponse.TYPE_BOOKMARK:
            kind = pb.WatchJobsResponse.Type.Name(event.type).removeprefix("TYPE_").lower()
            if output == "name":
                terminal.say_line(event.job.job_id)
            else:
                terminal.say_line(" ".join((kind, *map(str, _row(event.job, is_wide=output == "wide")))))


def _print(job: pb.JobSummary, output: str) -> None:
    if output == "json":
        tables.print_json(job, indent=None)
    else:
        terminal.say_line(job.job_id)


def _row(job: pb.JobSummary, *, is_wide: bool) -> list[Any]:
    done, total = sum(job.task_states.get(state, 0) for state in _FINAL_TASKS), sum(job.task_states.values())
    row = [
        job.job_id,
        tables.state(job.state),
        f"{done}/{total}",
        job.initiator,
        texts.local_time(texts.iso(job, "create_time")),
        texts.elapsed(texts.iso(job, "start_time"), texts.iso(job, "end_time")),
        job.err_msg,
    ]
    if is_wide:
        fields = (", ".join(f"{key}={value}" for key, value in sorted(each.items())) for each in _named(job))
        row += [", ".join(job.parties), ", ".join(job.app_images), *fields, str(job.revision)]
    return row


def _named(job: pb.JobSummary) -> tuple[Any, Any]:
    return job.custom_fields, job.labels
