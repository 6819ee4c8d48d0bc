"""The calls of JobsService that answer at once: lists, one job, history, audit, dry runs and submissions."""

import asyncio
from typing import Protocol

from msgspec.structs import astuple

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.api.calls.job import LARGE_INPUTS_CHARACTERS
from kusciajob.api.calls.v1.job_file import add_places, check_file, read_file
from kusciajob.api.calls.v1.verdicts import encode_verdict
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.dry_run import DryRun
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.questions import JobAccount, Questions
from kusciajob.wire.v1.accounts import encode_account
from kusciajob.wire.v1.filters import decode_audit_range, decode_filter
from kusciajob.wire.v1.pages import MAX_PAGE_BYTES, PageScope, page_size
from kusciajob.wire.v1.records import encode_audit, encode_history
from kusciajob.wire.v1.submissions import decode_submission, problems
from kusciajob.wire.v1.summaries import encode_job

JOBS_AT_ONCE = 32
LARGE_PARTIES = 1000
"""An account of more parties of earlier attempts is encoded off the event loop, as one of large inputs."""


class QuestionCalls:
    """Some RPCs of JobsService, by their names."""

    def __init__(self, service: JobService, questions: Questions, dry_run: DryRun) -> None:
        self._service = service
        self._questions = questions
        self._dry_run = dry_run
        self._describing = asyncio.Semaphore(1)
        self._reading = asyncio.Semaphore(1)

    async def ListJobs(self, request: pb.ListJobsRequest, caller: Caller) -> pb.ListJobsResponse:
        chosen, limit = decode_filter(request, visible_to=caller.domain), page_size(request.page_size)
        scope = PageScope("ListJobs", request.oldest_first, *map(_in_order, astuple(chosen)))
        await self._questions.reach(request.min_revision)
        page = await self._questions.list(
            chosen,
            caller,
            limit=limit,
            after=scope.position(request.page_token),
            newest_first=not request.oldest_first,
        )
        response = pb.ListJobsResponse(revision=page.revision)
        room, last = _Room(), 0
        for count, job in enumerate(page.jobs):
            if count % JOBS_AT_ONCE == JOBS_AT_ONCE - 1:
                await asyncio.sleep(0)  # other calls have their turn
            message = encode_job(job)
            if not room.has(message):
                response.next_page_token = scope.token(last)
                return response
            response.jobs.append(message)
            last = job.number
        if not page.is_last:
            response.next_page_token = scope.token(page.through)
        return response

    async def GetJob(self, request: pb.GetJobRequest, caller: Caller) -> pb.GetJobResponse:
        await self._questions.reach(request.min_revision)
        account = await self._questions.job(request.job_id, caller)
        if _is_large(account):
            async with self._describing:
                return await asyncio.to_thread(_tell, account)
        return _tell(account)

    async def ListJobHistory(self, request: pb.ListJobHistoryRequest, caller: Caller) -> pb.ListJobHistoryResponse:
        limit = page_size(request.page_size)
        await self._questions.reach(request.min_revision)
        job = await self._questions.summary(request.job_id, caller)
        # With its number: of another job that has its id by now, nothing is told in between.
        scope = PageScope("ListJobHistory", caller.domain, job.number)
        after = scope.position(request.page_token)
        entries = await self._questions.history(job, caller, limit=limit + 1, after=after)
        response = pb.ListJobHistoryResponse()
        room, last = _Room(), 0
        for position, entry in entries:
            message = encode_history(entry)
            if len(response.entries) == limit or not room.has(message):
                response.next_page_token = scope.token(last)
                break
            response.entries.append(message)
            last = position
        return response

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, caller: Caller
    ) -> pb.ListAuditEntriesResponse:
        limit = page_size(request.page_size)
        since, until = decode_audit_range(request)
        scope = PageScope("ListAuditEntries", caller.domain, request.caller, request.job_id, since, until)
        await self._questions.reach(request.min_revision)
        entries = await self._questions.audit(
            caller,
            limit=limit + 1,
            before=scope.position(request.page_token),
            of_caller=request.caller,
            job_id=request.job_id,
            since=since,
            until=until,
        )
        response = pb.ListAuditEntriesResponse()
        room = _Room()
        for entry in entries:
            message = encode_audit(entry)
            if len(response.entries) == limit or not room.has(message):
                response.next_page_token = scope.token(response.entries[-1].id)
                break
            response.entries.append(message)
        return response

    async def ValidateJob(self, request: pb.ValidateJobRequest, caller: Caller) -> pb.ValidateJobResponse:
        if request.file:
            return await self._validate_file(request, caller)
        return await self._validate(request.request, caller)

    async def _validate(self, asked: pb.SubmitJobRequest, caller: Caller) -> pb.ValidateJobResponse:
        known = problems(asked)
        spec = None if known else decode_submission(asked)
        verdict = await self._dry_run.judge(asked.job, spec, known, caller)
        return encode_verdict(verdict, spec)

    async def _validate_file(self, request: pb.ValidateJobRequest, caller: Caller) -> pb.ValidateJobResponse:
        file = check_file(request)
        async with self._reading:
            response = await asyncio.to_thread(read_file, file, request.request)
            if not response.problems:
                response.MergeFrom(await self._validate(response.request, caller))
                if response.problems:
                    await asyncio.to_thread(add_places, response, file)
        return response

    async def SubmitJob(self, request: pb.SubmitJobRequest, caller: Caller) -> pb.SubmitJobResponse:
        job_id = await self._service.create(decode_submission(request), caller, method="SubmitJob")
        return pb.SubmitJobResponse(job=encode_job(await self._questions.summary(job_id, caller)))


def _tell(account: JobAccount) -> pb.GetJobResponse:
    return pb.GetJobResponse(job=encode_account(account.job, account.attempts))


def _is_large(account: JobAccount) -> bool:
    inputs = sum([len(task.task_input_config) for task in account.job.spec.tasks])
    parties = sum([len(attempt.parties) for attempt in account.attempts])
    return inputs > LARGE_INPUTS_CHARACTERS or parties > LARGE_PARTIES


class _Sized(Protocol):
    def ByteSize(self) -> int: ...


class _Room:
    """What is left of MAX_PAGE_BYTES. The first entry always has room."""

    def __init__(self) -> None:
        self._left = 0

    def has(self, message: _Sized) -> bool:
        """Whether the message still fits; then it takes its room."""
        size = message.ByteSize()
        self._left = self._left - size if self._left else max(MAX_PAGE_BYTES - size, 1)
        return self._left > 0


def _in_order(value: object) -> object:
    """Of a set, its members in one order, so that equal filters have equal tokens."""
    return sorted(value) if isinstance(value, frozenset) else value
