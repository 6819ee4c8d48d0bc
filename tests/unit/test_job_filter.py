"""Which jobs a filter lets pass, as they are and as they change."""

from typing import Any

import pytest
from msgspec.structs import replace

from kusciajob.model.damage import damaged_status
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import (
    Ended,
    EventType,
    JobEvent,
    JobPhase,
    JobState,
    JobSummary,
    Started,
    Unstarted,
)
from tests.support.builders import NOW, job_spec, new_job, task

PENDING = Unstarted(JobState.PENDING, NOW)
RUNNING = Started(JobState.RUNNING, NOW + 1)
FAILED = Ended(JobState.FAILED, NOW + 1, NOW + 10)
ALL: dict[str, Any] = {
    "states": frozenset({JobState.FAILED, JobState.SUCCEEDED}),
    "initiator": "alice",
    "party": "bob",
    "job_ids": frozenset({"job-1", "job-2"}),
    "job_id_prefix": "job-",
    "app_image": "app",
    "custom_fields": (("project", "p1"), ("owner", "me")),
    "labels": (("team", "blue"),),
    "created_after": NOW,
    "created_before": NOW + 1,
    "ended_after": NOW + 10,
    "ended_before": NOW + 11,
    "visible_to": "bob",
}
"""Every field, with a value that the job below just passes."""


def summary(phase: JobPhase = FAILED) -> JobSummary:
    spec = job_spec(tasks=[task()], custom_fields={"project": "p1", "owner": "me", "more": ""})
    job = new_job(replace(spec, labels={"team": "blue"}))
    return replace(job.summary, status=replace(job.status, phase=phase))


def event(kind: EventType, phase: JobPhase, before: JobPhase | None = None) -> JobEvent:
    return JobEvent(1, kind, summary(phase), before)


def test_a_filter_without_wishes_lets_every_job_pass() -> None:
    assert JobFilter().matches(summary(PENDING))
    assert set(ALL) == set(JobFilter.__struct_fields__)


def test_a_job_that_passes_each_wish_passes_all_together() -> None:
    assert JobFilter(**ALL).matches(summary())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("states", frozenset({JobState.RUNNING})),
        ("initiator", "bob"),
        ("party", "carol"),
        ("job_ids", frozenset({"job-2"})),
        ("job_id_prefix", "job-12"),
        ("app_image", "ap"),
        ("custom_fields", (("project", "p1"), ("owner", "you"))),
        ("custom_fields", (("missing", ""),)),
        ("labels", (("team", "red"),)),
        ("labels", (("project", "p1"),)),
        ("created_after", NOW + 0.001),
        ("created_before", NOW),
        ("ended_after", NOW + 10.001),
        ("ended_before", NOW + 10),
        ("visible_to", "carol"),
    ],
)
def test_one_wish_that_does_not_hold_is_enough_to_keep_a_job_out(field: str, value: Any) -> None:
    assert JobFilter(**{field: ALL[field]}).matches(summary())
    assert not JobFilter(**{field: value}).matches(summary())
    assert not JobFilter(**{**ALL, field: value}).matches(summary())


@pytest.mark.parametrize("phase", [PENDING, RUNNING], ids=["pending", "running"])
def test_a_job_without_an_end_passes_no_range_of_ends(phase: JobPhase) -> None:
    assert not JobFilter(ended_after=0.0).matches(summary(phase))
    assert not JobFilter(ended_before=NOW + 1000).matches(summary(phase))


def test_an_initiator_sees_its_job_though_it_is_no_party() -> None:
    job = replace(summary(), initiator="carol")
    assert JobFilter(visible_to="carol").matches(job)
    assert not JobFilter(party="carol").matches(job)


def test_a_damaged_job_passes_only_what_asks_nothing_of_its_status() -> None:
    job = replace(summary(), status=damaged_status("torn"))
    assert JobFilter(initiator="alice", job_ids=frozenset({"job-1"}), visible_to="alice").matches(job)
    refusing: list[dict[str, Any]] = [
        {"states": frozenset(JobState)},
        {"created_after": 0.0},
        {"created_before": NOW},
        {"ended_after": 0.0},
        {"ended_before": NOW + 1000},
        {"party": "alice"},
    ]
    assert not any(JobFilter(**wish).matches(job) for wish in refusing)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (event(EventType.ADDED, RUNNING), (False, True)),
        (event(EventType.ADDED, PENDING), (False, False)),
        (event(EventType.MODIFIED, RUNNING, PENDING), (False, True)),
        (event(EventType.MODIFIED, RUNNING), (True, True)),
        (event(EventType.MODIFIED, FAILED, RUNNING), (True, False)),
        (event(EventType.MODIFIED, FAILED), (False, False)),
        (event(EventType.ERROR, RUNNING), (True, True)),
        (event(EventType.DELETED, RUNNING), (True, False)),
        (event(EventType.DELETED, FAILED), (False, False)),
    ],
)
def test_an_event_tells_whether_a_job_enters_stays_or_leaves(told: JobEvent, expected: tuple[bool, bool]) -> None:
    running = frozenset({JobState.RUNNING})
    assert JobFilter(states=running).passes(told) == expected
    assert JobFilter(states=running, initiator="bob").passes(told) == (False, False)


def test_a_new_end_can_let_a_job_leave_a_range_of_ends() -> None:
    cancelled = Ended(JobState.CANCELLED, NOW + 1, NOW + 100)
    told = event(EventType.MODIFIED, cancelled, FAILED)
    assert JobFilter(ended_before=NOW + 50).passes(told) == (True, False)
    assert JobFilter(ended_after=NOW + 50).passes(told) == (False, True)
