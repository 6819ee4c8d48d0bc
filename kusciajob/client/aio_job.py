"""A job by its id, for asyncio."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from kusciajob.api import kuscia, v1
from kusciajob.client import errors, values
from kusciajob.client.calling import Calling, Deadline
from kusciajob.client.comparison import Sighting
from kusciajob.client.errors import ClientError, InvalidTransition, JobNotFound, NotOffered, WaitTimeout
from kusciajob.client.values import ChangeType, HistoryEntry, JobStatus, LogLine, State, timestamp
from kusciajob.client.watching import Choice, plain_sighting, v1_sighting, watch

_ENDS = {
    State.FAILED: errors.JobFailed,
    State.CANCELLED: errors.JobCancelled,
    State.APPROVAL_REJECT: errors.JobRejected,
}


class AsyncJob:
    """A job by its id."""

    def __init__(self, calling: Calling, job_id: str) -> None:
        self._calling = calling
        self.job_id = job_id

    def __repr__(self) -> str:
        return f"<job {self.job_id}>"

    async def status(self) -> JobStatus:
        """Its present status. Raises JobNotFound."""
        request = kuscia.QueryJobRequest(job_id=self.job_id)
        response = await self._calling.ask(self._calling.stubs.jobs.QueryJob, request)
        return values.status_of(self.job_id, response.data.status)

    async def wait(
        self,
        *states: str,
        timeout: float | None = None,
        on_change: Callable[[JobStatus], object] | None = None,
    ) -> JobStatus:
        """Its status once it is in one of the states; without any, once it has ended.

        Restarts of the server are survived.

        Raises JobFailed, JobCancelled, JobRejected once it has ended otherwise; JobDeleted, JobNotFound; WaitTimeout.
        """
        wanted, deadline = frozenset(states) or values.ENDED, Deadline(timeout)
        seen = await self._sighting()
        status = seen.status
        if await self._is_there(status, wanted):
            return status
        choice = Choice(jobs=(self.job_id,))
        async with aclosing(watch(self._calling, choice, timeout=deadline.left, known=[seen])) as changes:
            async for change in changes:
                if change.type is ChangeType.DELETED:
                    raise errors.JobDeleted(change.status)
                if change.type is ChangeType.ERROR:
                    continue
                status = change.status
                if on_change is not None:
                    on_change(status)
                if await self._is_there(status, wanted):
                    return status
        reason = await self._why_it_waits()
        raise WaitTimeout(
            f"job {self.job_id} is {status.state} after {timeout:g} s, not {' or '.join(sorted(wanted))}"
            f"{f': {reason}' if reason else ''}",
            status,
        )

    async def result(self, timeout: float | None = None) -> JobStatus:
        """Its status once it has Succeeded. Raises as `wait`."""
        return await self.wait(State.SUCCEEDED, timeout=timeout)

    async def stop(self, reason: str = "", *, wait: bool = False) -> None:
        """Stop it: it has Failed then. With `wait` return once it has ended."""
        await self._command(self._calling.stubs.jobs.StopJob, kuscia.StopJobRequest, reason)
        if wait:
            await self.wait()

    async def suspend(self, reason: str = "", *, wait: bool = False) -> None:
        """Stop its tasks until it is restarted. Raises InvalidTransition if it does not run."""
        done = (State.SUSPENDED,)
        await self._command(self._calling.stubs.jobs.SuspendJob, kuscia.SuspendJobRequest, reason, done=done)
        if wait:
            await self.wait(State.SUSPENDED)

    async def restart(self, reason: str = "", *, wait: bool = False) -> None:
        """Run it again. Raises InvalidTransition. Unavailable is not tried again: twice would be a second restart."""
        request = kuscia.RestartJobRequest(job_id=self.job_id, reason=reason)
        await self._calling.ask(self._calling.stubs.jobs.RestartJob, request, is_repeatable=False)
        if wait:
            await self.wait(State.RUNNING, State.SUCCEEDED, State.FAILED)

    async def cancel(self, reason: str = "", *, wait: bool = False) -> None:
        """End it for good."""
        await self._command(self._calling.stubs.jobs.CancelJob, kuscia.CancelJobRequest, reason)
        if wait:
            await self.wait()

    async def delete(self) -> None:
        """Stop it and remove its record. Raises JobNotFound."""
        try:
            await self._calling.ask(self._calling.stubs.jobs.DeleteJob, kuscia.DeleteJobRequest(job_id=self.job_id))
        except JobNotFound as error:
            if not error.was_lost:  # else it was this call that deleted it
                raise

    async def approve(self, reason: str = "") -> None:
        """Accept it in the name of the caller's domain."""
        await self._answer(kuscia.APPROVE_RESULT_ACCEPT, reason)

    async def reject(self, reason: str = "") -> None:
        """Reject it in the name of the caller's domain."""
        await self._answer(kuscia.APPROVE_RESULT_REJECT, reason)

    async def logs(
        self,
        task: str,
        party: str = "",
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        attempt: int = 0,
    ) -> AsyncGenerator[LogLine, None]:
        """What the program of a task's party wrote: the lines of an attempt, the newest if none is named."""
        task_id = (await self.status()).task(task).task_id
        stubs = self._calling.stubs
        if await self._calling.has_v1():
            request = v1.ReadTaskLogRequest(
                task_id=task_id,
                domain_id=party,
                follow=follow,
                tail_lines=tail,
                since_time=timestamp(since),
                attempt=attempt,
            )
            async with aclosing(self._calling.stream(stubs.v1.ReadTaskLog, request)) as pieces:
                async for piece in pieces:
                    for line in piece.lines:
                        yield values.line_of(line)
            return
        if tail is not None or since is not None or attempt:
            raise NotOffered("a plain Kuscia tells all lines of the newest attempt: no tail, since, attempt")
        header = kuscia.RequestHeader(custom_headers={"domain": party} if party else {})
        plain = kuscia.QueryLogRequest(header=header, task_id=task_id, follow=follow)
        async with aclosing(self._calling.stream(stubs.logs.QueryLog, plain)) as answers:
            async for answer in answers:
                if answer.status.code:
                    raise errors.of_code(answer.status.code, answer.status.message)
                for text in answer.log.splitlines():
                    yield LogLine(text, "", None)

    async def history(self) -> list[HistoryEntry]:
        """What happened to it, oldest first."""
        request = v1.ListJobHistoryRequest(job_id=self.job_id, page_size=1000)
        entries: list[HistoryEntry] = []
        while True:
            page = await self._calling.ask(self._calling.stubs.v1.ListJobHistory, request)
            entries += map(values.entry_of, page.entries)
            if not page.next_page_token:
                return entries
            request.page_token = page.next_page_token

    async def _sighting(self) -> Sighting:
        if await self._calling.has_v1():
            job = await self._describe()
            return v1_sighting(job.summary, job.status)
        response = await self._calling.ask(
            self._calling.stubs.jobs.QueryJob, kuscia.QueryJobRequest(job_id=self.job_id)
        )
        return plain_sighting(self.job_id, response.data.status)

    async def _is_there(self, status: JobStatus, wanted: frozenset[str]) -> bool:
        """Raises JobFailed, JobCancelled, JobRejected once it will not get there."""
        if status.state in wanted:
            return True
        if status.state == State.SUCCEEDED:
            raise errors.JobEnded(status)
        if kind := _ENDS.get(State(status.state)):
            raise kind(status, await self._failures(status))
        return False

    async def _failures(self, status: JobStatus) -> list[errors.PartyFailure]:
        """With exit codes where the server tells them."""
        if await self._calling.has_v1():
            try:
                return values.failures_of(await self._describe())
            except ClientError:  # it is gone, or cannot be reached any more: what is known is told
                pass
        return status.failures

    async def _why_it_waits(self) -> str:
        try:
            return (await self._describe()).waiting if await self._calling.has_v1() else ""
        except ClientError:
            return ""

    async def _describe(self) -> v1.Job:
        request = v1.GetJobRequest(job_id=self.job_id)
        response: v1.GetJobResponse = await self._calling.ask(self._calling.stubs.v1.GetJob, request)
        return response.job

    async def _command(self, method: Any, kind: Any, reason: str, *, done: Sequence[str] = ()) -> None:
        try:
            await self._calling.ask(method, kind(job_id=self.job_id, reason=reason))
        except InvalidTransition as error:
            if not error.was_lost or (await self.status()).state not in done:
                raise

    async def _answer(self, result: kuscia.ApproveResult, reason: str) -> None:
        request = kuscia.ApproveJobRequest(job_id=self.job_id, result=result, reason=reason)
        try:
            await self._calling.ask(self._calling.stubs.jobs.ApproveJob, request)
        except errors.CallFailed as error:
            rejected = result == kuscia.APPROVE_RESULT_REJECT
            if not (rejected and error.was_lost and (await self.status()).state == State.APPROVAL_REJECT):
                raise
