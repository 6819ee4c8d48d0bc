"""A job by its id, for asyncio."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from kusciajob.api import kuscia, v1
from kusciajob.client import errors, values
from kusciajob.client.calling import Calling, Deadline, Pauses
from kusciajob.client.comparison import Sighting
from kusciajob.client.errors import ClientError, InvalidTransition, JobNotFound, NotOffered, WaitTimeout
from kusciajob.client.lines import whole_lines
from kusciajob.client.values import ChangeType, HistoryEntry, JobStatus, LogLine, State, timestamp
from kusciajob.client.watching import Choice, plain_sighting, v1_sighting, watch

DETAILS_SECONDS = 5.0
"""What only makes an error clearer is not waited for longer."""
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
        return values.status_of(self.job_id, (await self._calling.query(self.job_id)).status)

    async def wait(
        self,
        *states: str,
        timeout: float | None = None,
        on_change: Callable[[JobStatus], object] | None = None,
        on_outage: Callable[[ClientError], object] | None = None,
    ) -> JobStatus:
        """Its status once it is in one of the states; without any, once it has ended.

        Restarts of the server are survived; `on_outage` is told of each lost connection.

        Raises JobFailed, JobCancelled, JobRejected once it has ended otherwise; JobDeleted, JobNotFound; WaitTimeout.
        """
        wanted = frozenset(states) or values.ENDED
        return await self._wait(wanted, timeout, on_change=on_change, on_outage=on_outage)

    async def result(self, timeout: float | None = None) -> JobStatus:
        """Its status once it has Succeeded. Raises as `wait`."""
        return await self.wait(State.SUCCEEDED, timeout=timeout)

    async def stop(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        """Stop it: it has Failed then. With `wait` return once it has ended; raises as `wait`."""
        await self._command(self._calling.stubs.jobs.StopJob, kuscia.StopJobRequest, reason)
        if wait:
            await self._wait(values.ENDED, timeout)

    async def suspend(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        """Stop its tasks until it is restarted. Raises InvalidTransition if it does not run; else as `wait`."""
        done = (State.SUSPENDED,)
        await self._command(self._calling.stubs.jobs.SuspendJob, kuscia.SuspendJobRequest, reason, done=done)
        if wait:
            await self._wait(frozenset((State.SUSPENDED,)), timeout)

    async def restart(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        """Run it again. With `wait` return once it runs, or has ended. Raises InvalidTransition; else as `wait`.

        Unavailable is not tried again: twice would be a second restart.
        """
        request = kuscia.RestartJobRequest(job_id=self.job_id, reason=reason)
        await self._calling.ask(self._calling.stubs.jobs.RestartJob, request, is_repeatable=False)
        if wait:
            await self._wait(values.ENDED | {State.RUNNING}, timeout)

    async def cancel(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        """End it for good. With `wait` return once it has ended; raises as `wait`."""
        await self._command(self._calling.stubs.jobs.CancelJob, kuscia.CancelJobRequest, reason)
        if wait:
            await self._wait(values.ENDED, timeout)

    async def delete(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        """Stop it and remove its record. The reason is kept in the audit; a plain Kuscia drops it. Raises JobNotFound.

        With `wait` return once nothing is known of it: here at once, on a plain Kuscia a moment later. WaitTimeout.
        """
        # Kuscia's API has no field for the reason of a deletion.
        header = kuscia.RequestHeader(custom_headers={"reason": reason} if reason else {})
        request = kuscia.DeleteJobRequest(header=header, job_id=self.job_id)
        try:
            await self._calling.ask(self._calling.stubs.jobs.DeleteJob, request)
        except JobNotFound as error:
            if not error.was_lost:  # else it was this call that deleted it
                raise
        if not wait or await self._calling.has_v1():
            return
        deadline, pauses = Deadline(timeout), Pauses()
        while left := await self._calling.statuses([self.job_id]):
            if deadline.is_over:
                status = values.status_of(self.job_id, left[self.job_id])
                raise WaitTimeout(f"job {self.job_id} is there still, {timeout:g} s after its deletion", status)
            await self._calling.transport.sleep(pauses.next())

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
        pieces = self._calling.plain_log(task_id, party, follow=follow)
        async with aclosing(pieces), aclosing(whole_lines(pieces)) as batches:
            async for lines in batches:
                for text in lines:
                    yield LogLine(text, "", None, None)

    async def history(self) -> list[HistoryEntry]:
        """What happened to it, oldest first."""
        request = v1.ListJobHistoryRequest(job_id=self.job_id, page_size=1000)
        async with aclosing(self._calling.pages(self._calling.stubs.v1.ListJobHistory, request)) as pages:
            return [values.entry_of(entry) async for page in pages for entry in page.entries]

    async def _wait(
        self,
        wanted: frozenset[str],
        timeout: float | None,
        *,
        on_change: Callable[[JobStatus], object] | None = None,
        on_outage: Callable[[ClientError], object] | None = None,
    ) -> JobStatus:
        deadline = Deadline(timeout)
        seen = await self._sighting(deadline.left)
        status = seen.status
        if await self._is_there(status, wanted):
            return status
        choice = Choice(jobs=(self.job_id,))
        following = watch(self._calling, choice, timeout=deadline.left, known=[seen], on_outage=on_outage)
        async with aclosing(following) as changes:
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
        raise WaitTimeout(
            f"job {self.job_id} is {status.state} after {timeout:g} s, not {' or '.join(sorted(wanted))}",
            status,
            await self._why_it_waits(),
        )

    async def _sighting(self, timeout: float | None) -> Sighting:
        if await self._calling.has_v1(timeout):
            job = await self._describe(timeout)
            return v1_sighting(job.summary, job.status)
        return plain_sighting(self.job_id, (await self._calling.query(self.job_id, timeout)).status)

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
                return values.failures_of(await self._describe(DETAILS_SECONDS))
            except ClientError:  # it is gone, or cannot be reached any more: what is known is told
                pass
        return status.failures

    async def _why_it_waits(self) -> str:
        try:
            return (await self._describe(DETAILS_SECONDS)).waiting if await self._calling.has_v1() else ""
        except ClientError:
            return ""

    async def _describe(self, timeout: float | None) -> v1.Job:
        request, method = v1.GetJobRequest(job_id=self.job_id), self._calling.stubs.v1.GetJob
        response: v1.GetJobResponse = await self._calling.ask(method, request, timeout=timeout)
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
