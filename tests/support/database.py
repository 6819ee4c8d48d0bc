"""What must be true of the file of jobs at any moment, read without the store."""

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kusciajob.model.moves import job_moves
from kusciajob.model.status import JobStatus, TaskState

MOVES = job_moves()


class StoredJob(Struct, frozen=True):
    """A row of the table of jobs."""

    job_id: str
    revision: int
    status: JobStatus


class Records(Struct, frozen=True):
    """All that a checked file tells: the jobs that exist and every status of any job, by number."""

    jobs: dict[int, StoredJob]
    history: dict[int, list[JobStatus]]

    def succeeded_runs(self) -> set[str]:
        """The runs that were told to have succeeded, each as `job number/task.attempt/party`."""
        return {
            f"{number}/{index}.{task.attempt}/{position}"
            for number, statuses in self.history.items()
            for status in statuses
            for index, task in enumerate(status.tasks)
            for position, party in enumerate(task.parties)
            if party.state is TaskState.SUCCEEDED
        }


def read_checked(path: Path) -> Records:
    """What is stored; AssertionError where jobs, tasks and log contradict each other, revisions have a gap, or a job
    made a move that is in no table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN")  # all tables as of one moment
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        log = _rows(connection, "SELECT revision, type, number, job_id, status FROM log ORDER BY revision")
        jobs = _rows(connection, "SELECT number, job_id, revision, status, unfinished FROM job ORDER BY number")
        specs = _rows(connection, "SELECT number FROM spec ORDER BY number")
        tasks = _rows(connection, "SELECT number, task_id FROM task")
    assert [revision for revision, *_ in log] == list(range(1, len(log) + 1)), "revisions have a gap"

    expected: dict[int, StoredJob] = {}
    history: dict[int, list[JobStatus]] = {}
    for revision, kind, number, job_id, encoded in log:
        status = msgspec.json.decode(encoded, type=JobStatus)
        assert (kind == "ADDED") == (number == revision) == (number not in history)
        if kind == "DELETED":
            del expected[number]
        elif kind == "ERROR":
            expected[number] = StoredJob(job_id, revision, expected[number].status)
        else:
            expected[number] = StoredJob(job_id, revision, status)
            history.setdefault(number, []).append(status)
    stored = {
        number: StoredJob(job_id, revision, msgspec.json.decode(encoded, type=JobStatus))
        for number, job_id, revision, encoded, _ in jobs
    }
    assert stored == expected, "the jobs are not what the log tells"
    assert all(stored[number].status.is_unfinished == bool(unfinished) for number, *_, unfinished in jobs)
    assert [number for (number,) in specs] == list(stored)
    of_jobs = {(number, task.task_id) for number, job in stored.items() for task in job.status.tasks}
    assert set(tasks) == of_jobs, "the tasks are not those of the jobs"
    for statuses in history.values():
        for before, after in pairwise(statuses):
            assert before.state is after.state or (before.state, after.state) in MOVES, "a move that is in no table"
            assert all(new.attempt >= old.attempt for old, new in zip(before.tasks, after.tasks, strict=True))
    return Records(stored, history)


def _rows(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()
