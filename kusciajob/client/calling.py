"""Calls with retries: repeated while the server is away, with back-off, within the caller's deadline."""

import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from kusciajob.api import kuscia, v1
from kusciajob.client import errors
from kusciajob.client.errors import JobNotFound, NotOffered, Unavailable
from kusciajob.client.transport import Stubs, Transport

PACKAGE = "kusciajob.v1"
"""Its calls fail by statuses of gRPC, those of Kuscia by the status in the response."""
CALL_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
BATCH = 100
"""So many jobs are asked for at once: one that is missing costs a few calls more, and an answer stays small."""


class Deadline:
    """A moment on the monotonic clock; None: never."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds, at least 0; None without end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        return self.left == 0.0


class Pauses:
    """The pauses between tries: each twice as long as the one before, of which a random part is waited."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS

    def reset(self) -> None:
        """It has worked: the next failure is a first one."""
        self._seconds = FIRST_PAUSE_SECONDS

    def next(self) -> float:
        """How long to wait now."""
        seconds, self._seconds = self._seconds, min(self._seconds * 2, LONGEST_PAUSE_SECONDS)
        return random.uniform(seconds / 2, seconds)  # noqa: S311  # no secret


class Calling:
    """Calls of one server. `timeout`: seconds for a call with all its tries; not patient: there is one try."""

    def __init__(self, transport: Transport, timeout: float, *, is_patient: bool = True) -> None:
        self.transport = transport
        self.timeout = timeout
        self._is_patient = is_patient
        self._has_v1: bool | None = None

    @property
    def stubs(self) -> Stubs:
        return self.transport.stubs

    async def ask(self, method: Any, request: Any, *, is_repeatable: bool = True, timeout: float | None = None) -> Any:
        """The response of kusciajob.v1, or of Kuscia if its status is success. Raises ClientError.

        Not longer than `timeout` seconds, nor than those of this server. An error has `was_lost` where an earlier try
        had no answer, and so may have taken effect.
        """
        seconds = self.timeout if timeout is None else min(timeout, self.timeout)
        deadline, pauses, was_lost = Deadline(seconds), Pauses(), False
        while True:
            try:
                response = await self.transport.unary(method, request, timeout=deadline.left)
                if response.DESCRIPTOR.file.package != PACKAGE:
                    check(response.status)
                return response
            except errors.ClientError as error:
                error.was_lost = was_lost
                pause, left = pauses.next(), deadline.left
                is_over = left is not None and left <= pause
                if not (isinstance(error, Unavailable) and is_repeatable and self._is_patient) or is_over:
                    raise
                was_lost = True
            await self.transport.sleep(pause)

    async def pages(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        """The pages of a list of kusciajob.v1, from the request's on, which is changed for that. Raises as `ask`."""
        while True:
            page = await self.ask(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def stream(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        """The messages of a stream. Raises ClientError."""
        stream = await self.transport.open(method, request, timeout=None)
        async with aclosing(self.transport.messages(stream)) as messages:
            async for message in messages:
                yield message

    async def plain_log(self, task_id: str, domain: str = "", *, follow: bool = False) -> AsyncGenerator[str, None]:
        """What the task's party in that domain (empty: its first party) writes, in pieces, by Kuscia's QueryLog."""
        header = kuscia.RequestHeader(custom_headers={"domain": domain} if domain else {})
        request = kuscia.QueryLogRequest(header=header, task_id=task_id, follow=follow)
        async with aclosing(self.stream(self.stubs.logs.QueryLog, request)) as answers:
            async for answer in answers:
                check(answer.status)
                yield answer.log

    async def has_v1(self, timeout: float | None = None) -> bool:
        """Whether the server has kusciajob.v1; else it is a plain Kuscia. It is asked once."""
        if self._has_v1 is None:
            try:
                await self.ask(self.stubs.server.GetServerInfo, v1.GetServerInfoRequest(), timeout=timeout)
                self._has_v1 = True
            except NotOffered:
                self._has_v1 = False
        return self._has_v1

    async def query(self, job_id: str, timeout: float | None = None) -> kuscia.QueryJobResponseData:
        """What Kuscia's API tells of a job. Raises as `ask`."""
        request = kuscia.QueryJobRequest(job_id=job_id)
        response: kuscia.QueryJobResponse = await self.ask(self.stubs.jobs.QueryJob, request, timeout=timeout)
        return response.data

    async def statuses(self, job_ids: Sequence[str]) -> dict[str, kuscia.JobStatusDetail]:
        """Of those that exist."""
        found: dict[str, kuscia.JobStatusDetail] = {}
        for start in range(0, len(job_ids), BATCH):
            found |= await self._statuses(job_ids[start : start + BATCH])
        return found

    async def _statuses(self, job_ids: Sequence[str]) -> dict[str, kuscia.JobStatusDetail]:
        batch = self.stubs.jobs.BatchQueryJobStatus
        try:
            response = await self.ask(batch, kuscia.BatchQueryJobStatusRequest(job_ids=job_ids))
        except JobNotFound:
            if len(job_ids) == 1:
                return {}
            middle = len(job_ids) // 2  # one that is missing fails the whole batch
            return await self._statuses(job_ids[:middle]) | await self._statuses(job_ids[middle:])
        return {job.job_id: job.status for job in response.data.jobs}


def check(status: kuscia.Status) -> None:
    """Raises CallFailed unless the status, which a response of Kuscia's has, is success."""
    if status.code:
        raise errors.of_code(status.code, status.message)
