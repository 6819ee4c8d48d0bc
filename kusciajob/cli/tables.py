"""Tables for people, JSON for programs."""

import sys
from collections.abc import Iterable, Sequence

import msgspec
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import terminal, texts
from kusciajob.wire.json import to_json

# Where nobody looks at a terminal, nothing is cut or wrapped.
UNLIMITED_COLUMNS = 10_000

MAX_RESULT_ROWS = 16
"""A job with more tasks ends with those that failed, not with all."""

_STYLES = {"Succeeded": "green", "Running": "cyan", "Failed": "red", "Cancelled": "red", "ApprovalReject": "red"}


def console(*, stderr: bool = False) -> Console:
    """Output that takes texts as they are: no markup, no emoji codes, no highlighting."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNLIMITED_COLUMNS
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def print_json(message: Message, *, indent: int | None = 2) -> None:
    """The message as one JSON object, as the HTTP port answers it, flushed."""
    encoded = to_json(message)
    terminal.say_json((msgspec.json.format(encoded, indent=indent) if indent else encoded).decode())


def say_cut(limit: int) -> None:
    """That a list has more entries than --limit, on stderr."""
    terminal.say_line(f"kusciajob: there are more; --limit 0 lists all, not {limit}", err=True)


def print_job(job: pb.QueryJobResponseData) -> None:
    """All there is to know about a job."""
    out, status = console(), job.status
    print_job_head(job.job_id, status)
    print_facts(_facts(job))
    out.print()
    out.print(tasks_table(status.tasks, job.tasks))
    endpoints = [
        (task.alias, party.domain_id, endpoint.port_name, endpoint.scope, endpoint.endpoint)
        for task in status.tasks
        for party in task.parties
        for endpoint in party.endpoints
    ]
    if endpoints:
        out.print()
        out.print(_table(("TASK", "PARTY", "PORT", "SCOPE", "ADDRESS"), endpoints))


def print_job_head(job_id: str, status: pb.JobStatusDetail) -> None:
    """The job's state, and each reason that it, its tasks and parties give."""
    out = console()
    out.print(state(status.state, f"job {job_id}: {status.state}"))
    _print_problems(out, status, texts.Told())


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """A name and a value a line."""
    table = _table(("", ""), facts)
    table.show_header = False
    console().print(table)


def print_statuses(jobs: Iterable[pb.JobStatus]) -> None:
    """One line for each job."""
    rows = []
    for job in jobs:
        status = job.status
        finished = sum(task.state in texts.FINAL_STATES for task in status.tasks)
        rows.append(
            (
                job.job_id,
                state(status.state),
                f"{finished}/{len(status.tasks)}",
                texts.local_time(status.create_time),
                texts.elapsed(status.start_time, status.end_time),
                status.err_msg,
            )
        )
    console().print(_table(("JOB", "STATE", "TASKS", "CREATED", "TIME", "MESSAGE"), rows))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """Any table of texts."""
    console().print(_table(columns, rows))


def print_result(job: pb.JobStatus, told: texts.Told) -> None:
    """How a job has ended: a small one task by task, of a large one what failed; no detail that was told."""
    out, status = console(), job.status
    is_large = len(status.tasks) > MAX_RESULT_ROWS
    failed = [task for task in status.tasks if task.state == "Failed"]
    shown = failed[:MAX_RESULT_ROWS] if is_large else status.tasks
    if shown:
        out.print(tasks_table(shown))
        if is_large and len(failed) > len(shown):
            out.print(line(f"… {len(failed) - len(shown)} more failed"))
        out.print()
    ended = f"job {job.job_id}: {status.state}"
    if status.start_time:
        ended += f" after {texts.elapsed(status.start_time, status.end_time)}"
    if is_large:
        ended += f", {texts.counts(status)}"
    out.print(state(status.state, ended))
    _print_problems(out, status, told, limit=MAX_RESULT_ROWS if is_large else None)


def tasks_table(tasks: Iterable[pb.TaskStatus], configs: Iterable[pb.TaskConfig] = ()) -> Table:
    """A line for each task; with its configuration where that is known."""
    by_id = {config.task_id: config for config in configs}
    columns = ["TASK", "STATE", "TIME", "PARTIES"]
    rows: list[list[str | Text]] = []
    for task in tasks:
        row: list[str | Text] = [task.alias, state(task.state, texts.task_state(task))]
        row += [texts.elapsed(task.start_time, task.end_time), _parties(task)]
        if by_id:
            config = by_id[task.task_id]
            row += [", ".join(config.dependencies) or texts.UNKNOWN, config.app_image, task.task_id]
        rows.append(row)
    return _table([*columns, "AFTER", "APP IMAGE", "TASK ID"] if by_id else columns, rows)


def _facts(job: pb.QueryJobResponseData) -> list[tuple[str, str]]:
    status = job.status
    facts = [
        ("initiator", job.initiator),
        ("parallelism", str(job.max_parallelism)),
        ("created", texts.local_time(status.create_time)),
        ("started", texts.local_time(status.start_time)),
        ("ended", texts.local_time(status.end_time)),
        ("time", texts.elapsed(status.start_time, status.end_time)),
        *((f"custom {name}", value) for name, value in job.custom_fields.items()),
        *((f"approval {answer.domain_id}", answer.state) for answer in status.approve_status_list),
    ]
    return [fact for fact in facts if fact[1] != texts.UNKNOWN]


def _parties(task: pb.TaskStatus) -> Text:
    """Names, and the states unless all parties are where the task is."""
    if all(party.state == task.state for party in task.parties):
        return line(", ".join(party.domain_id for party in task.parties))
    return Text(", ").join(state(party.state, f"{party.domain_id} {party.state}") for party in task.parties)


def line(text: str, *, style: str = "") -> Text:
    """The text on one line, fit for any terminal: the only way into a table."""
    return Text(terminal.one_line(text), style=style)


def _print_problems(out: Console, status: pb.JobStatusDetail, told: texts.Told, *, limit: int | None = None) -> None:
    """Each problem with its further lines indented: what a program wrote is not to pass for a line of ours."""
    problems = texts.problems(status, told)
    for problem in problems[:limit]:
        out.print(Text(terminal.clean(problem).replace("\n", "\n    ")))
    if limit is not None and len(problems) > limit:
        out.print(line(f"… {len(problems) - limit} more problems; -o json tells all"))


def state(name: str, text: str = "") -> Text:
    """A state, or a text about something in that state, in its colour."""
    return line(text or name, style=_STYLES.get(name, ""))


def _table(columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(line(cell) if isinstance(cell, str) else cell for cell in row))
    return table
