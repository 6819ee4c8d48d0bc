"""The filters of ListJobs and WatchJobs, which have the same fields."""

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.rules import MAX_NAME_CHARACTERS
from kusciajob.model.selection import ANY, JobFilter
from kusciajob.model.status import JobState
from kusciajob.model.text import CONTROL, shown

MAX_JOB_IDS = 1000
MAX_PAIRS = 128
MAX_FILTER_CHARACTERS = 64 << 10
"""Of all texts of a filter: each open watch keeps its own."""
_PREFIX = re.compile(r"[a-z0-9][-.a-z0-9]*")

_Request: TypeAlias = pb.ListJobsRequest | pb.WatchJobsRequest


def decode_filter(request: _Request, *, visible_to: str) -> JobFilter:
    """The filter of a request on behalf of a domain; "" is the master. Raises InvalidJob with every problem."""
    problems: list[Problem] = []
    job_ids = frozenset(request.job_ids) if isinstance(request, pb.WatchJobsRequest) else ANY
    if len(job_ids) > MAX_JOB_IDS:
        problems.append(_problem("job_ids", f"has {len(job_ids):,} entries: at most {MAX_JOB_IDS:,} are possible"))
    if "" in job_ids:
        problems.append(_problem("job_ids", "has an empty entry: each must name a job"))
    chosen = JobFilter(
        states=_states(request.states, problems),
        initiator=request.initiator,
        party=request.party,
        job_ids=job_ids,
        job_id_prefix=request.job_id_prefix,
        app_image=request.app_image,
        custom_fields=_pairs("custom_fields", request.custom_fields, problems),
        labels=_pairs("labels", request.labels, problems),
        created_after=decode_time(request, "created_after", problems),
        created_before=decode_time(request, "created_before", problems),
        ended_after=decode_time(request, "ended_after", problems),
        ended_before=decode_time(request, "ended_before", problems),
        visible_to=visible_to,
    )
    problems += _of_names(chosen)
    problems += _of_ranges(chosen)
    size = sum(map(len, _texts(chosen)))
    if size > MAX_FILTER_CHARACTERS:
        problems.append(
            Problem("", f"the filter has {size:,} characters: at most {MAX_FILTER_CHARACTERS:,} are possible")
        )
    if problems:
        raise InvalidJob("; ".join(problem.text for problem in problems[:10]), problems=problems)
    return chosen


def decode_audit_range(request: pb.ListAuditEntriesRequest) -> tuple[float | None, float | None]:
    """From when on and until when calls are wanted. Raises InvalidJob with every problem."""
    problems: list[Problem] = []
    since, until = decode_time(request, "after", problems), decode_time(request, "before", problems)
    problems += _of_range("after", since, "before", until)
    if problems:
        raise InvalidJob("; ".join(problem.text for problem in problems), problems=problems)
    return since, until


def _states(names: Iterable[str], problems: list[Problem]) -> frozenset[JobState]:
    states = set()
    for index, name in enumerate(names):
        try:
            states.add(JobState(name))
        except ValueError:
            problems.append(_problem(f"states[{index}]", f"{shown(name)} is not one of {', '.join(JobState)}"))
            if index > len(JobState):
                break
    return frozenset(states)


def _pairs(field: str, texts: Iterable[str], problems: list[Problem]) -> tuple[tuple[str, str], ...]:
    """Sorted, so that equal filters are equal."""
    pairs = set()
    values: dict[str, str] = {}
    for index, text in enumerate(texts):
        if index == MAX_PAIRS:
            problems.append(_problem(field, f"has too many entries: at most {MAX_PAIRS} are possible"))
            break
        key, equals, value = text.partition("=")
        if key and equals:
            if values.setdefault(key, value) != value:
                problems.append(_problem(f"{field}[{index}]", f"wants two values of {shown(key)}: no job has both"))
            pairs.add((key, value))
        else:
            problems.append(_problem(f"{field}[{index}]", f"{shown(text)} is not of the form key=value"))
    return tuple(sorted(pairs))


def _of_names(chosen: JobFilter) -> Iterator[Problem]:
    for field in ("initiator", "party", "app_image"):
        value: str = getattr(chosen, field)
        if len(value) > MAX_NAME_CHARACTERS or CONTROL.search(value):
            yield _problem(
                field, f"{shown(value)} is not valid: at most {MAX_NAME_CHARACTERS} characters, no control characters"
            )
    prefix = chosen.job_id_prefix
    if prefix and (len(prefix) > MAX_NAME_CHARACTERS or not _PREFIX.fullmatch(prefix)):
        yield _problem(
            "job_id_prefix",
            f"{shown(prefix)} begins no job id: at most {MAX_NAME_CHARACTERS} lower-case letters, digits, "
            '"-" and ".", beginning with a letter or digit',
        )


def _of_ranges(chosen: JobFilter) -> Iterator[Problem]:
    for since, until in (("created_after", "created_before"), ("ended_after", "ended_before")):
        yield from _of_range(since, getattr(chosen, since), until, getattr(chosen, until))


def _of_range(since: str, first: float | None, until: str, end: float | None) -> Iterator[Problem]:
    """A range of times in which nothing can be."""
    if first is not None and end is not None and first >= end:
        yield _problem(until, f"is not after {since}: no time is between them")


def decode_time(message: Message, field: str, problems: list[Problem]) -> float | None:
    """The seconds of a Timestamp field; None if it is unset. What is no time is added to the problems."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        stamp.ToJsonString()  # checks the range
    except ValueError as error:
        problems.append(_problem(field, f"is not a time: {error}"))
        return None
    return stamp.seconds + stamp.nanos / 1e9


def _texts(chosen: JobFilter) -> Iterable[str]:
    yield from chosen.job_ids
    yield from (chosen.initiator, chosen.party, chosen.job_id_prefix, chosen.app_image)
    for pair in chosen.custom_fields + chosen.labels:
        yield from pair


def _problem(field: str, text: str) -> Problem:
    return Problem(field, f"{field} {text}")
