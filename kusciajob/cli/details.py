"""`kusciajob describe`, `history` and `images`: all there is to know."""

import asyncio
from typing import Any

import click

from kusciajob._gen.kusciajob.v1 import app_images_pb2, jobs_pb2
from kusciajob.cli import options, tables, texts
from kusciajob.cli.remote import connected

_PAGE = 1000
_COLUMNS_OF_ATTEMPTS = ("TASK", "ATTEMPT", "STATE", "STARTED", "TIME", "PARTY", "STATE", "EXIT", "MESSAGE")


@click.command()
@click.argument("job_id", metavar="JOB")
@options.server
@options.output
def describe(job_id: str, server: options.Target, output: str) -> None:
    """Show all of a job: why it waits or failed, its tasks, and each attempt of each task, party by party."""
    request = jobs_pb2.GetJobRequest(job_id=job_id)
    job = asyncio.run(_ask(server, lambda calling: calling.ask(calling.stubs.v1.GetJob, request))).job
    if output == "json":
        tables.print_json(job)
        return
    _print_job(job)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.server
@options.line_output
def history(job_id: str, server: options.Target, output: str) -> None:
    """Show what happened to a job, in order: when, who asked for it, and why."""
    entries = asyncio.run(_history(job_id, server))
    if output == "json":
        for entry in entries:
            tables.print_json(entry, indent=None)
        return
    rows = [
        (
            texts.local_time(texts.iso(entry, "time")),
            entry.event,
            _subject(entry),
            f"{entry.caller} {entry.peer}".strip() or "server",
            _reason(entry),
        )
        for entry in entries
    ]
    tables.print_table(("TIME", "EVENT", "WHAT", "WHO", "WHY"), rows)


@click.command()
@click.argument("name", metavar="[NAME]", default="")
@options.server
@options.output
def images(name: str, server: options.Target, output: str) -> None:
    """List the AppImages that tasks can name, or show one."""
    if name:
        request = app_images_pb2.GetAppImageRequest(name=name)
        found = [
            asyncio.run(
                _ask(server, lambda calling: calling.ask(calling.stubs.app_images.GetAppImage, request))
            ).app_image
        ]
    else:
        found = asyncio.run(_images(server))
    if output == "json":
        tables.print_json(found[0] if name else app_images_pb2.ListAppImagesResponse(app_images=found))
        return
    rows = [
        (image.name, image.image, role.role or "any", str(role.replicas), _ports(role), image.file or "API")
        for image in found
        for role in image.roles
    ]
    tables.print_table(("APP IMAGE", "IMAGE", "ROLE", "REPLICAS", "PORTS", "FROM"), rows)


def _print_job(job: jobs_pb2.Job) -> None:
    out, summary = tables.console(), job.summary
    tables.print_job_head(summary.job_id, job.status)
    facts = [
        ("waiting", job.waiting),
        ("initiator", summary.initiator),
        ("parties", ", ".join(summary.parties)),
        ("number, revision", f"{summary.number}, {summary.revision}"),
        ("created", texts.local_time(texts.iso(summary, "create_time"))),
        ("started", texts.local_time(texts.iso(summary, "start_time"))),
        ("ended", texts.local_time(texts.iso(summary, "end_time"))),
        ("last command", f"{job.stage} by {job.stage_caller}" if job.stage_caller else job.stage),
        ("its reason", job.stage_reason),
        ("awaits approval of", ", ".join(job.awaited_domains)),
        *((f"custom {key}", value) for key, value in sorted(summary.custom_fields.items())),
        *((f"label {key}", value) for key, value in sorted(summary.labels.items())),
    ]
    tables.print_facts([fact for fact in facts if fact[1] not in ("", texts.UNKNOWN)])
    out.print()
    rows: list[tuple[Any, ...]] = []
    for task in job.tasks:
        head: tuple[Any, ...] = (task.alias, str(task.attempt), tables.state(task.state), "", "", "", "", "")
        if not task.attempts or task.state == "Pending":
            rows.append((*head, task.err_msg))
        for attempt in task.attempts:
            start, end = texts.iso(attempt, "start_time"), texts.iso(attempt, "end_time")
            own = (task.alias, str(attempt.number), tables.state(attempt.state))
            times = (texts.local_time(start), texts.elapsed(start, end))
            for party in attempt.parties:
                exit_code = party.signal or (str(party.exit_code) if party.HasField("exit_code") else "")
                rows.append((*own, *times, texts.party(party), tables.state(party.state), exit_code, party.err_msg))
    tables.print_table(_COLUMNS_OF_ATTEMPTS, rows)


def _subject(entry: jobs_pb2.JobHistoryEntry) -> str:
    task = f"{entry.alias} #{entry.attempt}" if entry.attempt else entry.alias
    return " ".join(filter(None, (task, texts.party(entry))))


def _reason(entry: jobs_pb2.JobHistoryEntry) -> str:
    parts = [entry.reason]
    if entry.HasField("exit_code"):
        parts.append(f"(exit code {entry.exit_code})")
    if entry.progress:
        parts.append(f"{entry.progress:.0%}")
    return " ".join(filter(None, parts))


def _ports(role: app_images_pb2.Role) -> str:
    return ", ".join(f"{port.name} {port.protocol} {port.scope}" for port in role.ports)


async def _ask(server: options.Target, call: Any) -> Any:
    async with connected(server) as calling:
        return await call(calling)


async def _history(job_id: str, server: options.Target) -> list[jobs_pb2.JobHistoryEntry]:
    request = jobs_pb2.ListJobHistoryRequest(job_id=job_id, page_size=_PAGE)
    async with connected(server) as calling:
        pages = calling.pages(calling.stubs.v1.ListJobHistory, request)
        return [entry async for page in pages for entry in page.entries]


async def _images(server: options.Target) -> list[app_images_pb2.AppImage]:
    request = app_images_pb2.ListAppImagesRequest(page_size=_PAGE)
    async with connected(server) as calling:
        pages = calling.pages(calling.stubs.app_images.ListAppImages, request)
        return [image async for page in pages for image in page.app_images]
