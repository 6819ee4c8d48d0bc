"""Which jobs pass a filter, found by bounded work.

A page is looked for in windows of so many jobs, in the order of their numbers: in each the database finds those that
can pass, and what it finds is compared with the filter. The tables help to find jobs, and decide nothing.
"""

from collections.abc import Sequence
from typing import Any

from asyncpg import Connection

from kusciajob.contracts import JobPage
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobSummary
from kusciajob.store import rows
from kusciajob.store.listing import facet
from kusciajob.store.postgres.changes import writable
from kusciajob.store.postgres.reads import SUMMARIES, head, within

FIRST_WINDOW, LAST_WINDOW = 1_000, 40_000
"""So many jobs are in the first window of a page, and at least in the one after which it ends anyway."""
WIDENING = 6
"""By this a window is larger than the one before."""
PAGE_BYTES = 384 << 10
"""A page ends early when its jobs take more, stored: to read and write a job takes about as long as it is large."""


async def select(
    connection: Connection, chosen: JobFilter, limit: int, after: int, *, newest_first: bool, note: rows.Note
) -> JobPage:
    """See JobStore.select; at most PAGE_BYTES of jobs, but one. All is read from one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        revision = await head(connection)
        begin = after
        if newest_first and not after:
            begin = revision + 1
        window = FIRST_WINDOW
        while True:
            end, is_end = await _end_of(connection, begin, window, newest_first=newest_first)
            found, is_full = await _found(connection, chosen, limit, (begin, end), newest_first=newest_first, note=note)
            jobs = tuple(job for job in found if chosen.matches(job))
            if is_full:
                return JobPage(jobs, found[-1].number, revision, is_last=False)
            if jobs or is_end or window >= LAST_WINDOW:
                return JobPage(jobs, end if end != begin else after, revision, is_last=is_end)
            begin, window = end, window * WIDENING


async def _end_of(connection: Connection, begin: int, window: int, *, newest_first: bool) -> tuple[int, bool]:
    """The last number of a window of so many jobs, and whether none follows."""
    comparison, order, last = ("<", "DESC", "min") if newest_first else (">", "ASC", "max")
    row = await connection.fetchrow(
        f"SELECT {last}(number) AS number, count(*) FROM (SELECT number FROM job WHERE number {comparison} $1"  # noqa: S608  # our own texts
        f" ORDER BY number {order} LIMIT $2) AS window_of_jobs",
        begin,
        window,
    )
    return (begin if row["number"] is None else row["number"]), row["count"] < window


async def _found(
    connection: Connection,
    chosen: JobFilter,
    limit: int,
    between: tuple[int, int],
    *,
    newest_first: bool,
    note: rows.Note,
) -> tuple[Sequence[JobSummary], bool]:
    """Up to `limit` jobs between two numbers, the second included, that can pass; and whether there are more."""
    conditions = _Conditions()
    conditions.of(chosen)
    begin, end = between
    if newest_first:
        conditions.add("number < {} AND number >= {}", begin, end)
    else:
        conditions.add("number > {} AND number <= {}", begin, end)
    order = "number DESC" if newest_first else "number"
    query = within(
        f"{SUMMARIES} WHERE {' AND '.join(conditions.texts)} ORDER BY {order} LIMIT {limit + 1:d}",
        "octet_length(status)",
        most=PAGE_BYTES,
        order=order,
    )
    read = await connection.fetch(query, *conditions.values)
    jobs = [rows.summary(tuple(row)[:6], note) for row in read[:limit]]
    return jobs, bool(read) and read[0]["in_all"] > len(jobs)


class _Conditions:
    """What is to be true of a row, with its values."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: list[Any] = []

    def add(self, text: str, *values: Any) -> None:
        """A condition, with {} where its values stand."""
        first = len(self.values) + 1
        self.texts.append(text.format(*(f"${place}" for place in range(first, first + len(values)))))
        self.values += values

    def of(self, chosen: JobFilter) -> None:
        """All that the tables know of a filter."""
        if chosen.states:
            self.add("state = ANY ({})", sorted(state.value for state in chosen.states))
        if chosen.initiator:
            self.add("initiator = {}", writable(chosen.initiator))
        if chosen.visible_to:
            self.add(
                "(initiator = {} OR EXISTS (SELECT 1 FROM facet WHERE facet = {} AND facet.number = job.number))",
                writable(chosen.visible_to),
                facet("party", chosen.visible_to),
            )
        if chosen.job_ids:
            self.add("job_id = ANY ({})", sorted(map(writable, chosen.job_ids)))
        if chosen.job_id_prefix:
            prefix = writable(chosen.job_id_prefix)
            self.add("job_id >= {} AND job_id < {}", prefix, prefix + "\U0010ffff")
        if chosen.party:
            self._facet("party", chosen.party)
        if chosen.app_image:
            self._facet("image", chosen.app_image)
        for field in chosen.custom_fields:
            self._facet("field", *field)
        for label in chosen.labels:
            self._facet("label", *label)
        for text, moment in (
            ("created >= {}", chosen.created_after),
            ("created < {}", chosen.created_before),
            ("ended >= {}", chosen.ended_after),
            ("ended < {}", chosen.ended_before),
        ):
            if moment is not None:
                self.add(text, moment)

    def _facet(self, kind: str, *texts: str) -> None:
        self.add("EXISTS (SELECT 1 FROM facet WHERE facet = {} AND facet.number = job.number)", facet(kind, *texts))
