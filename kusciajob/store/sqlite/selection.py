"""Which jobs pass a filter, found by bounded work.

Each thing that a filter wants is a sequence of job numbers in order, such as all jobs of a state or with a party of a
domain. The sequences are followed together: each is asked for its next number from where another has come to, until all
have the same one. What no sequence tells is looked up of those that are found, and each job that is read is compared
with the filter: the tables help to find jobs, and decide nothing.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from msgspec.json import Encoder

from kusciajob.contracts import JobPage
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobSummary
from kusciajob.store import packing, rows
from kusciajob.store.listing import facet
from kusciajob.store.sqlite import reads
from kusciajob.store.sqlite.listing import is_time

WORK = 12_000
"""What a page may cost: a number that is read costs 1, and a row takes about half a microsecond."""
SEEK_WORK = 10
"""What it costs to look something up."""
CHECK_WORK = 5
"""What it costs to look up whether a job can pass."""
JOB_WORK = 40
"""What it costs to read a job that does not pass."""
PAGE_BYTES = 384 << 10
"""A page ends early when its jobs take more, stored: to read and write a job takes about as long as it is large."""
FEW = 4096
"""So many numbers of jobs are read at once where they are not in order."""
FIRST_READ, MOST_READ = 8, 1024
"""So many numbers of a sequence are read at first, and later where many of those that are read are of use."""
LOOKED_UP = 256
"""So many jobs are looked up together where not all will pass."""

_encode = Encoder().encode


def select(
    connection: sqlite3.Connection,
    chosen: JobFilter,
    limit: int,
    after: int,
    *,
    newest_first: bool,
    note: rows.Note = rows.ignore,
) -> JobPage:
    """See JobStore.select; at most PAGE_BYTES of jobs, but one. All is read from one moment."""
    connection.execute("BEGIN")
    try:
        search = _Search(connection, chosen, after, newest_first=newest_first)
        found, through, is_last = _page(connection, search, chosen, limit, note)
        return JobPage(tuple(found), through or after, reads.head(connection), is_last)
    finally:
        connection.execute("COMMIT")


def _page(
    connection: sqlite3.Connection, search: "_Search", chosen: JobFilter, limit: int, note: rows.Note
) -> tuple[list[JobSummary], int, bool]:
    """The jobs, the last number that was looked at, and whether nothing follows."""
    found: list[JobSummary] = []
    numbers = iter(search)
    size = 0
    checks, values = _looked_up(chosen, search)
    order = "DESC" if search.direction < 0 else "ASC"
    chosen_rows = f"{reads.SUMMARIES} WHERE job.number IN (SELECT value FROM json_each(?)){checks}"  # noqa: S608  # our own texts
    query = f"{chosen_rows} ORDER BY job.number {order}"
    while batch := list(islice(numbers, max(limit - len(found), LOOKED_UP if checks else 0))):
        search.work -= len(batch) * CHECK_WORK if checks else 0
        read = connection.execute(query, (_encode(batch).decode(), *values))
        for *others, packed in read:
            if len(found) == limit:
                read.close()
                return found, found[-1].number, False
            status = packing.plain(packed)
            size += len(status) if isinstance(status, bytes | str) else 0
            if found and size > PAGE_BYTES:
                read.close()
                return found, found[-1].number, False
            job = rows.summary((*others, status), note)
            if chosen.matches(job):
                found.append(job)
            else:
                search.work -= JOB_WORK
        if len(found) == limit:
            through = batch[-1]
            return found, through, next(numbers, None) is None and search.is_done
    return found, search.through, search.is_done


def _looked_up(chosen: JobFilter, search: "_Search") -> tuple[str, list[Any]]:
    """What is to be true of the rows of a job and its listing, beyond what the sequences tell."""
    checks: dict[str, Any] = {}
    if chosen.ended_after is not None and not search.has_ends:
        checks[" AND ended >= ?"] = chosen.ended_after
    if chosen.ended_before is not None and not search.has_ends:
        checks[" AND ended < ?"] = chosen.ended_before
    if search.until is not None and search.lag:
        # Not to the last digit: the two were rounded.
        checks[" AND created - lag < ?"] = search.until + 1.0
    if chosen.job_id_prefix and not search.has_ids:
        checks[" AND job_id >= ?"], checks[" AND job_id < ?"] = _range_of(chosen.job_id_prefix)
    return "".join(checks), list(checks.values())


def _range_of(prefix: str) -> tuple[str, str]:
    return prefix, prefix + "\U0010ffff"


class _Sequence(Protocol):
    def seek(self, key: int) -> int | None:
        """The first key of the sequence that is not below this one; None: there is none.

        A key is a job's number, or, where the newest come first, its negative: keys are always in rising order.
        """


class _Search:
    """The numbers of all jobs that may pass, in order, until it is done or its work is. `through` is the last number
    that is known to pass or not."""

    def __init__(self, connection: sqlite3.Connection, chosen: JobFilter, after: int, *, newest_first: bool) -> None:
        self._connection = connection
        self.direction = -1 if newest_first else 1
        self.work = WORK
        self.is_done = False
        self.through = after
        self.has_ids = self.has_ends = False
        """Whether the sequences tell all about ids and ends that the filter wants."""
        self.until: float | None = None
        """Jobs that were created then or later do not pass."""
        self.lag = 0.0
        """So far a job's own times can be behind those of earlier ones."""
        first, last = self._range(chosen)
        self._key = -(min(after - 1, last) if after else last) if newest_first else max(after + 1, first)
        self._last_key = -first if newest_first else last
        self._sequences = self._sequences_of(chosen)

    def __iter__(self) -> Iterator[int]:
        while self.work > 0:
            key = self._agreed()
            if key is None:
                return
            self.through = key * self.direction
            yield self.through
            self._key = key + 1

    def _agreed(self) -> int | None:
        """The next key that all sequences have; None: there is none, or finding it takes too much work."""
        key = self._key
        is_moved = True
        while is_moved:
            is_moved = False
            for sequence in self._sequences:
                found = sequence.seek(key)
                if found is None or found > self._last_key:
                    self.is_done = True
                    return None
                if found > key:
                    key, is_moved = found, True
            if self.work <= 0 and is_moved:
                self.through = (key - 1) * self.direction
                return None
        return key if key <= self._last_key else None

    def _range(self, chosen: JobFilter) -> tuple[int, int]:
        """The first and last number that can pass, by when jobs were created. A job has not ended before that."""
        (last,) = self._connection.execute("SELECT ifnull(max(number), 0) FROM job").fetchone()
        first = 1
        if chosen.created_after is not None:
            first = self._first_created(chosen.created_after, last)
        ends = [each for each in (chosen.created_before, chosen.ended_before) if each is not None]
        if ends:
            self.until = min(ends)
            (lag,) = self._connection.execute("SELECT ifnull(max(lag), 0) FROM listing WHERE lag > 0").fetchone()
            self.lag = lag if is_time(lag) else 0.0
            last = self._first_created(self.until + self.lag, last) - 1
        return first, last

    def _first_created(self, at: float, last: int) -> int:
        """The first number whose job or an earlier one was created then or later; one above the last if none was."""

        def created(number: int) -> float:
            row = self._connection.execute(
                "SELECT created FROM listing WHERE number >= ? ORDER BY number LIMIT 1", (number,)
            ).fetchone()
            return float("inf") if row is None else row[0] if is_time(row[0]) else 0.0

        return bisect_left(range(last + 1), at, key=created)

    def _sequences_of(self, chosen: JobFilter) -> list[_Sequence]:
        found: list[_Sequence] = []
        if chosen.job_ids:
            ids = _encode(sorted(chosen.job_ids)).decode()
            query = "SELECT number FROM job WHERE job_id IN (SELECT value FROM json_each(?))"
            found.append(self._few(query, [ids], len(chosen.job_ids)) or self._all("job"))
        if chosen.job_id_prefix:
            query = "SELECT number FROM job WHERE job_id >= ? AND job_id < ?"
            if (few := self._few(query, _range_of(chosen.job_id_prefix), FEW)) is not None:
                self.has_ids = True
                found.append(few)
        if chosen.ended_after is not None or chosen.ended_before is not None:
            since = 0.0 if chosen.ended_after is None else chosen.ended_after
            until = float("inf") if chosen.ended_before is None else chosen.ended_before
            query = "SELECT number FROM listing WHERE ended >= ? AND ended < ?"
            if (few := self._few(query, [since, until], FEW)) is not None:
                self.has_ends = True
                found.append(few)
        if chosen.initiator:
            found.append(self._rows("job WHERE initiator = ?", chosen.initiator))
        if chosen.visible_to:
            own = self._rows("job WHERE initiator = ?", chosen.visible_to)
            found.append(_Union([own, self._facet("party", chosen.visible_to)]))
        if chosen.party:
            found.append(self._facet("party", chosen.party))
        if chosen.app_image:
            found.append(self._facet("image", chosen.app_image))
        found += [self._facet("field", *field) for field in chosen.custom_fields]
        found += [self._facet("label", *label) for label in chosen.labels]
        if chosen.states:
            found.append(
                _Union([self._rows("listing WHERE state = ?", state.value) for state in sorted(chosen.states)])
            )
        if not found:
            has_times = not (chosen.created_after is chosen.created_before is chosen.ended_after is None)
            found.append(self._all("listing" if has_times or chosen.ended_before is not None else "job"))
        return found

    def _few(self, query: str, values: Sequence[Any], most: int) -> "_Numbers | None":
        """The numbers as a query tells them, if there are not many."""
        numbers = self._connection.execute(f"{query} LIMIT ?", (*values, most + 1)).fetchall()
        self.work -= SEEK_WORK + len(numbers) // 2
        return None if len(numbers) > most else _Numbers(sorted([number * self.direction for (number,) in numbers]))

    def _all(self, table: str) -> "_Rows":
        return self._rows(f"{table} WHERE ?", 1)

    def _facet(self, kind: str, *texts: str) -> "_Rows":
        return self._rows("facet WHERE facet = ?", facet(kind, *texts))

    def _rows(self, source: str, value: Any) -> "_Rows":
        return _Rows(self, self._connection, source, value)


class _Numbers:
    """A sequence that is known."""

    def __init__(self, keys: list[int]) -> None:
        self._keys = keys

    def seek(self, key: int) -> int | None:
        place = bisect_left(self._keys, key)
        return self._keys[place] if place < len(self._keys) else None


class _Union:
    """All that is in one of several sequences."""

    def __init__(self, sequences: Sequence[_Sequence]) -> None:
        self._sequences = sequences

    def seek(self, key: int) -> int | None:
        return min((found for each in self._sequences if (found := each.seek(key)) is not None), default=None)


class _Rows:
    """The numbers of those rows of a table that have a value, read in parts."""

    def __init__(self, search: _Search, connection: sqlite3.Connection, source: str, value: Any) -> None:
        self._search = search
        self._connection = connection
        comparison, order = (">=", "ASC") if search.direction > 0 else ("<=", "DESC")
        self._query = f"SELECT number FROM {source} AND number {comparison} ? ORDER BY number {order} LIMIT ?"  # noqa: S608  # our own texts
        self._value = value
        self._keys: list[int] = []
        self._place = 0
        self._is_end = False
        self._size = FIRST_READ
        self._used = 0

    def seek(self, key: int) -> int | None:
        keys = self._keys
        if not keys or key > keys[-1]:
            if self._is_end:
                return None
            self._read(key)
            keys = self._keys
        self._used += 1
        # Mostly it is the one at hand or the next.
        if self._place < len(keys) and keys[self._place] < key:
            self._place += 1
            if self._place < len(keys) and keys[self._place] < key:
                self._place = bisect_left(keys, key, self._place)
        return keys[self._place] if self._place < len(keys) else None

    def _read(self, key: int) -> None:
        self._size = min(self._size * 4, MOST_READ) if self._used > self._size // 8 else FIRST_READ
        self._used = 0
        direction = self._search.direction
        found = self._connection.execute(self._query, (self._value, key * direction, self._size)).fetchall()
        self._keys = [number * direction for (number,) in found]
        self._place = 0
        self._is_end = len(found) < self._size
        self._search.work -= SEEK_WORK + len(found)
