"""Which jobs a request wants, as a filter of the model. Every value that cannot be is refused by its name."""

import re
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model import limits, rules
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.rules import MAX_NAME_CHARACTERS
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import JobState
from kusciajob.model.text import CONTROL, shown
from kusciajob.wire.v1 import times

MAX_STATES = 64
MAX_PAIRS = 32
MAX_JOB_IDS = 1000
_PREFIX = re.compile(r"[a-z0-9][-.a-z0-9]*")
_RANGES = (("created_after", "created_before"), ("ended_after", "ended_before"))
_STATES = frozenset(map(str, JobState))


def decode_filter(request: pb.ListJobsRequest | pb.WatchJobsRequest) -> JobFilter:
    """The filter of a request, for every caller. Raises InvalidJob with all problems; its text is that of the first."""
    job_ids = request.job_ids if isinstance(request, pb.WatchJobsRequest) else ()
    refuse([*_of_filter(request), *_of_job_ids(job_ids)])
    return JobFilter(
        states=frozenset(map(JobState, request.states)),
        initiator=request.initiator,
        party=request.party,
        job_ids=frozenset(job_ids),
        job_id_prefix=request.job_id_prefix,
        app_image=request.app_image,
        custom_fields=_pairs(request.custom_fields),
        labels=_pairs(request.labels),
        created_after=_time(request, "created_after"),
        created_before=_time(request, "created_before"),
        ended_after=_time(request, "ended_after"),
        ended_before=_time(request, "ended_before"),
    )


def refuse(problems: Sequence[Problem]) -> None:
    """Raise InvalidJob with all of the problems, if there are any."""
    if problems:
        raise InvalidJob(problems[0].text, problems=problems)


def of_range(
    request: pb.ListJobsRequest | pb.WatchJobsRequest | pb.ListAuditEntriesRequest, *names: str
) -> Iterator[Problem]:
    """A range of times that cannot be, or in which nothing can be."""
    given = [name for name in names if request.HasField(name)]
    problems = [problem for name in given for problem in times.of_time(name, getattr(request, name))]
    yield from problems
    if len(given) == len(names) and not problems:
        since, until = (times.seconds_of(getattr(request, name)) for name in names)
        if since >= until:
            yield Problem(names[1], f"{names[1]} is not after {names[0]}: nothing is between them")


def _of_filter(request: pb.ListJobsRequest | pb.WatchJobsRequest) -> Iterator[Problem]:
    yield from limits.of_count("states", len(request.states), MAX_STATES)
    for index, state in enumerate(request.states[:MAX_STATES]):
        if state not in _STATES:
            yield Problem(f"states[{index}]", f"states[{index}] {shown(state)} is not one of {', '.join(JobState)}")
    for field in ("initiator", "party", "app_image"):
        value: str = getattr(request, field)
        if len(value) > MAX_NAME_CHARACTERS or CONTROL.search(value):
            yield Problem(
                field,
                f"{field} {shown(value)} is not valid: at most {MAX_NAME_CHARACTERS} characters, no control characters",
            )
    prefix = request.job_id_prefix
    if prefix and (len(prefix) > MAX_NAME_CHARACTERS or not _PREFIX.fullmatch(prefix)):
        yield Problem(
            "job_id_prefix",
            f"job_id_prefix {shown(prefix)} is not valid: at most {MAX_NAME_CHARACTERS} lower-case letters, digits, "
            '"-" and ".", beginning with a letter or digit',
        )
    for field in ("custom_fields", "labels"):
        yield from _of_pairs(field, getattr(request, field))
    for names in _RANGES:
        yield from of_range(request, *names)


def _of_pairs(field: str, pairs: Sequence[str]) -> Iterator[Problem]:
    yield from limits.of_count(field, len(pairs), MAX_PAIRS)
    values: dict[str, str] = {}
    for index, pair in enumerate(pairs[:MAX_PAIRS]):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            yield Problem(f"{field}[{index}]", f"{field}[{index}] {shown(pair)} is not valid: key=value")
        elif values.setdefault(key, value) != value:
            text = f"{field}[{index}] wants another value of {shown(key)} than an entry before: no job has both"
            yield Problem(f"{field}[{index}]", text)


def _of_job_ids(job_ids: Sequence[str]) -> Iterator[Problem]:
    yield from limits.of_count("job_ids", len(job_ids), MAX_JOB_IDS)
    for index, job_id in enumerate(job_ids[:MAX_JOB_IDS]):
        yield from rules.of_name(f"job_ids[{index}]", job_id)


def _pairs(pairs: Iterable[str]) -> tuple[tuple[str, str], ...]:
    split = (pair.partition("=") for pair in pairs)
    return tuple(sorted({(key, value) for key, _, value in split}))


def _time(request: pb.ListJobsRequest | pb.WatchJobsRequest, name: str) -> float | None:
    if not request.HasField(name):
        return None
    message: Timestamp = getattr(request, name)
    return times.seconds_of(message)
