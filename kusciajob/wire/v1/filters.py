"""The filters of ListJobs and WatchJobs, which have the same fields."""

from collections.abc import Iterable
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.selection import ANY, JobFilter
from kusciajob.model.status import JobState
from kusciajob.model.text import shown

MAX_JOB_IDS = 1000
MAX_PAIRS = 128
MAX_FILTER_CHARACTERS = 64 << 10
"""Of all texts of a filter: each open watch keeps its own."""


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
        created_after=_time(request, "created_after", problems),
        created_before=_time(request, "created_before", problems),
        ended_after=_time(request, "ended_after", problems),
        ended_before=_time(request, "ended_before", problems),
        visible_to=visible_to,
    )
    size = sum(map(len, _texts(chosen)))
    if size > MAX_FILTER_CHARACTERS:
        problems.append(
            Problem("", f"the filter has {size:,} characters: at most {MAX_FILTER_CHARACTERS:,} are possible")
        )
    if problems:
        raise InvalidJob("; ".join(problem.text for problem in problems[:10]), problems=problems)
    return chosen


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
    for index, text in enumerate(texts):
        if index == MAX_PAIRS:
            problems.append(_problem(field, f"has too many entries: at most {MAX_PAIRS} are possible"))
            break
        key, equals, value = text.partition("=")
        if key and equals:
            pairs.add((key, value))
        else:
            problems.append(_problem(f"{field}[{index}]", f"{shown(text)} is not of the form key=value"))
    return tuple(sorted(pairs))


def _time(request: _Request, field: str, problems: list[Problem]) -> float | None:
    if not request.HasField(field):
        return None
    stamp: Timestamp = getattr(request, field)
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
