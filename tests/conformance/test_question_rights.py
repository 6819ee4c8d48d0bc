"""Rights: what a domain is told by any question is what the master is told, filtered by visibility.

Counts, page sizes and tokens are those of a world in which other domains' jobs do not exist.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.model.errors import JobError, JobNotFound, NotAllowed
from kusciajob.model.moves import Operation
from kusciajob.telemetry.request import begin
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.wire.codec import decode_spec
from tests.support.questions import QuestionHouse, pages_of, question_house, secret_of

DOMAINS = ("alice", "bob", "carol")
CALLERS = [Caller(domain) for domain in DOMAINS]
_JOBS = st.lists(
    st.tuples(
        st.sampled_from(DOMAINS),
        st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=3, unique=True),
        st.sampled_from(["psi", "train"]),
        st.sampled_from(["", "red", "blue"]),
        st.sampled_from(["", "fail", "Stop", "Cancel"]),
    ),
    max_size=12,
)
_FILTERS = st.builds(
    pb.ListJobsRequest,
    states=st.lists(st.sampled_from(["Pending", "Failed", "Cancelled", "Running"]), max_size=2),
    initiator=st.sampled_from(["", *DOMAINS]),
    party=st.sampled_from(["", *DOMAINS]),
    job_id_prefix=st.sampled_from(["", "job-1", "j"]),
    app_image=st.sampled_from(["", "psi"]),
    custom_fields=st.lists(st.sampled_from(["colour=red"]), max_size=1),
    page_size=st.integers(1, 4),
    oldest_first=st.booleans(),
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=25, deadline=None)
@given(jobs=_JOBS, filters=st.lists(_FILTERS, min_size=1, max_size=4))
def test_a_domain_is_told_what_the_master_is_told_filtered_by_visibility(
    kind: str, jobs: Sequence[Any], filters: Sequence[pb.ListJobsRequest]
) -> None:
    asyncio.run(_compare(kind, jobs, filters))


async def _compare(kind: str, jobs: Sequence[Any], filters: Sequence[pb.ListJobsRequest]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with question_house(kind, Path(directory)) as house:
            await _populate(house, jobs)
            job_ids = [f"job-{index}" for index in range(len(jobs))]
            for caller in CALLERS:
                for request in filters:
                    await _compare_lists(house, request, caller)
                for job_id in (*job_ids, "job-unknown"):
                    await _compare_one(house, job_id, caller)
                await _compare_audit(house, caller)


async def _populate(house: QuestionHouse, jobs: Sequence[Any]) -> None:
    for index, (initiator, parties, image, colour, fate) in enumerate(jobs):
        begin(peer=f"192.0.2.{DOMAINS.index(initiator)}")
        request = job_pb2.CreateJobRequest(
            job_id=f"job-{index}",
            initiator=initiator,
            tasks=[
                job_pb2.Task(
                    alias="t", app_image=image, parties=[job_pb2.Party(domain_id=domain) for domain in parties]
                )
            ],
            custom_fields={"colour": colour} if colour else {},
        )
        await house.service.create(decode_spec(request), Caller(initiator))
        if fate == "fail":
            await house.fail(f"job-{index}")
        elif fate:
            await house.service.command(Operation(fate), f"job-{index}", f"said {initiator}", Caller(initiator))
        house.clock.advance(1)


def _cut(entries: Sequence[Any], size: int) -> list[list[Any]]:
    """The entries as pages."""
    return [list(entries[start : start + size]) for start in range(0, len(entries), size)]


def _owners(job: pb.JobSummary) -> set[str]:
    return {job.initiator, *job.parties}


def _bare(message: Message) -> Message:
    """The message without what may differ: texts, which have details for some, and where calls came from."""
    copy = type(message)()
    copy.CopyFrom(message)
    _clear(copy)
    return copy


def _clear(message: Any) -> None:
    for field, value in message.ListFields():
        if field.name in ("err_msg", "reason", "peer"):
            message.ClearField(field.name)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else [value]:
                _clear(inner)


def _check_details(caller: Caller, *messages: Message) -> None:
    """Nothing of other domains' details is in what a domain is told."""
    text = str(messages)
    for domain in DOMAINS:
        if domain != caller.domain:
            assert secret_of(domain) not in text


async def _compare_lists(house: QuestionHouse, request: pb.ListJobsRequest, caller: Caller) -> None:
    of_master = await pages_of(house.calls.ListJobs, request, MASTER, "jobs")
    visible = [_bare(job) for page in of_master for job in page if caller.domain in _owners(job)]
    pages = await pages_of(house.calls.ListJobs, request, caller, "jobs")
    _check_details(caller, *[job for page in pages for job in page])
    assert [[_bare(job) for job in page] for page in pages if page] == _cut(visible, request.page_size)


async def _compare_one(house: QuestionHouse, job_id: str, caller: Caller) -> None:
    calls = house.calls
    try:
        everything = await calls.GetJob(pb.GetJobRequest(job_id=job_id), MASTER)
    except JobNotFound:
        everything = None
    history = pb.ListJobHistoryRequest(job_id=job_id, page_size=2)
    if everything is None or caller.domain not in _owners(everything.job.summary):
        for call, request in ((calls.GetJob, pb.GetJobRequest(job_id=job_id)), (calls.ListJobHistory, history)):
            with pytest.raises(NotAllowed) as refused:
                await call(request, caller)
            denied = f'domain "{caller.domain}" may not act on job "{job_id}": it is neither initiator nor party of'
            assert str(refused.value) == f"{denied} such a job"
        return
    told = await calls.GetJob(pb.GetJobRequest(job_id=job_id), caller)
    assert _bare(told) == _bare(everything)
    own = await pages_of(calls.ListJobHistory, history, caller, "entries")
    all_of_it = await pages_of(calls.ListJobHistory, history, MASTER, "entries")
    assert [list(map(_bare, page)) for page in own] == [list(map(_bare, page)) for page in all_of_it]
    _check_details(caller, told, *[entry for page in own for entry in page])
    for page in own:
        for entry in page:
            assert not entry.peer or entry.caller == caller.domain
    failed = told.job.summary.state == "Failed" and "exit code 3" in told.job.summary.err_msg
    if failed and caller.domain in told.job.summary.parties:
        assert secret_of(caller.domain) in told.job.summary.err_msg
        assert secret_of(caller.domain) in str(told.job.tasks[0].attempts)
        assert secret_of(caller.domain) in str(own)


async def _compare_audit(house: QuestionHouse, caller: Caller) -> None:
    for request in (pb.ListAuditEntriesRequest(page_size=2), pb.ListAuditEntriesRequest(page_size=3, job_id="job-0")):
        of_master = await pages_of(house.calls.ListAuditEntries, request, MASTER, "entries")
        visible = [entry for page in of_master for entry in page if entry.caller == caller.domain]
        pages = await pages_of(house.calls.ListAuditEntries, request, caller, "entries")
        assert [page for page in pages if page] == _cut(visible, request.page_size)
    with pytest.raises(NotAllowed):
        await house.calls.ListAuditEntries(pb.ListAuditEntriesRequest(caller="mallory"), caller)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_no_token_leads_out_of_the_callers_own_list(kind: str, tmp_path: Path) -> None:
    async with question_house(kind, tmp_path) as house:
        await _populate(house, [(domain, [domain], "psi", "", "") for domain in DOMAINS * 4])
        request = pb.ListJobsRequest(page_size=1)
        of_master = (await house.calls.ListJobs(request, MASTER)).next_page_token
        own = (await house.calls.ListJobs(request, CALLERS[0])).next_page_token
        assert of_master
        assert own
        hostile = [
            of_master,
            (await house.calls.ListJobs(request, CALLERS[1])).next_page_token,
            (
                await house.calls.ListJobs(pb.ListJobsRequest(page_size=1, oldest_first=True), CALLERS[0])
            ).next_page_token,
            "x" * 100_000,
            "....",
            "\u96ea",
            "AAAA",
            own[:-2],
            own + own,
        ]
        for token in hostile:
            with pytest.raises(JobError, match="page_token"):
                await house.calls.ListJobs(pb.ListJobsRequest(page_size=1, page_token=token), CALLERS[0])
        for index in range(len(own)):  # each bit of the position, of the digest and of the version
            for character in "AZ09_-":
                forged = own[:index] + character + own[index + 1 :]
                with suppress(JobError):
                    page = await house.calls.ListJobs(pb.ListJobsRequest(page_token=forged), CALLERS[0])
                    assert {job.initiator for job in page.jobs} <= {"alice"}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("oldest_first", [True, False])
async def test_pages_have_no_repeats_and_no_holes_while_jobs_come_and_go(
    kind: str, oldest_first: bool, tmp_path: Path
) -> None:
    async with question_house(kind, tmp_path) as house:
        await _populate(house, [("alice", ["alice"], "psi", "", "")] * 20)
        stay = {f"job-{index}" for index in range(20) if index % 3}
        go = [f"job-{index}" for index in range(20) if not index % 3]
        seen: list[str] = []
        request = pb.ListJobsRequest(page_size=2, oldest_first=oldest_first)
        came = 0
        while True:
            page = await house.calls.ListJobs(request, CALLERS[0])
            seen += [job.job_id for job in page.jobs]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
            if go:
                await house.service.delete(go.pop(len(go) // 2), MASTER)
            if came < 10:
                spec = decode_spec(
                    job_pb2.CreateJobRequest(
                        job_id=f"new-{came}",
                        initiator="alice",
                        tasks=[job_pb2.Task(alias="t", app_image="a", parties=[job_pb2.Party(domain_id="alice")])],
                    )
                )
                await house.service.create(spec, MASTER)
                came += 1
        assert len(seen) == len(set(seen))
        assert stay <= set(seen)
        if not oldest_first:
            assert not any(job_id.startswith("new-") for job_id in seen)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_history_is_not_mixed_with_that_of_a_later_job_of_its_id(kind: str, tmp_path: Path) -> None:
    async with question_house(kind, tmp_path) as house:
        await _populate(house, [("alice", ["alice"], "psi", "", "Stop")])
        request = pb.ListJobHistoryRequest(job_id="job-0", page_size=1)
        request.page_token = (await house.calls.ListJobHistory(request, MASTER)).next_page_token
        await house.service.delete("job-0", MASTER)
        await _populate(house, [("alice", ["alice"], "psi", "", "Stop")])
        with pytest.raises(JobError, match=r"page_token .* is of another list"):
            await house.calls.ListJobHistory(request, MASTER)
