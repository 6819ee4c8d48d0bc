"""A job on as many lines as a screen has: the counts, what runs, what failed and why, what waits, what is done."""

from collections.abc import Sequence

from rich.text import Text

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import tables, texts

MIN_NAME_COLUMNS = 8
MAX_ROW_CHARACTERS = 1000
"""No terminal shows more on a line; longer texts are not even looked at."""
FAILED_SHARE = 3
"""What failed gets at least one of so many lines."""


def lines(job: pb.JobStatus, *, rows: int, columns: int, note: str = "") -> list[Text]:
    """At most so many lines, at least one; those too long for the columns are for the caller to cut."""
    status = job.status
    facts = [f"job {job.job_id} {status.state}", texts.elapsed(status.create_time, status.end_time), note]
    head = tables.line(f"{texts.counts(status)} - {', '.join(filter(None, facts))}", style="bold")
    groups = texts.counted(status)
    groups["done"].sort(key=lambda task: task.end_time, reverse=True)
    rooms = _rooms({word: len(tasks) for word, tasks in groups.items()}, rows - 1)
    shown = [task for word, tasks in groups.items() for task in _shown(tasks, rooms[word])]
    names = {task.task_id: tables.line(task.alias[:MAX_ROW_CHARACTERS]) for task in shown}
    width = min(
        max((name.cell_len for name in names.values()), default=0),
        max(MIN_NAME_COLUMNS, columns // 3),
    )
    for name in names.values():
        name.truncate(width, overflow="ellipsis", pad=True)
    body = []
    for word, tasks in groups.items():
        chosen = _shown(tasks, rooms[word])
        body += [Text("  ").join((names[task.task_id], *_facts(task))) for task in chosen]
        if rooms[word] and len(chosen) < len(tasks):
            more = "more " if chosen else ""
            body.append(Text(f"… {len(tasks) - len(chosen)} {more}{word}", style="dim"))
    return [head, *body]


def _rooms(sizes: dict[str, int], rows: int) -> dict[str, int]:
    """How many lines each group gets; what runs does not push out what failed."""
    rooms = {"failed": min(sizes["failed"], max(rows - sizes["running"], rows // FAILED_SHARE, 0))}
    for word in ("running", "waiting", "done"):
        rooms[word] = min(sizes[word], max(0, rows - sum(rooms.values())))
    return rooms


def _shown(tasks: Sequence[pb.TaskStatus], room: int) -> Sequence[pb.TaskStatus]:
    """Those with a line of their own: where not all have one, the last line tells how many more there are."""
    return tasks if len(tasks) <= room else tasks[: max(0, room - 1)]


def _facts(task: pb.TaskStatus) -> list[Text]:
    """What stands behind a task's name."""
    state = tables.state(task.state, texts.task_state(task))
    if task.state == "Failed":
        return [state, tables.line(texts.cause(task)[:MAX_ROW_CHARACTERS])]
    if not task.start_time:
        return [state, tables.line(task.err_msg[:MAX_ROW_CHARACTERS])]
    parties = ", ".join(party.domain_id for party in task.parties)
    return [
        state,
        tables.line(texts.elapsed(task.start_time, task.end_time)),
        tables.line(parties[:MAX_ROW_CHARACTERS]),
    ]
