"""Calls with retries: repeated while the server is away, with back-off, within the caller's deadline."""

import random
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from kusciajob.api import kuscia, v1
from kusciajob.client import errors
from kusciajob.client.errors import JobNotFound, NotOffered, Unavailable
from kusciajob.client.transport import Stubs, Transport

PACKAGE = "kusciajob.v1"
"""Its calls fail by statuses of gRPC, those of Kuscia by the status in the response."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


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
    """Calls of one server. `timeout`: seconds for a call with all its tries."""

    def __init__(self, transport: Transport, timeout: float) -> None:
        self.transport = transport
        self.timeout = timeout
        self._has_v1: bool | None = None

    @property
    def stubs(self) -> Stubs:
        return self.transport.stubs

    async def ask(self, method: Any, request: Any, *, is_repeatable: bool = True, timeout: float | None = None) -> Any:
        """The response of kusciajob.v1, or of Kuscia if its status is success. Raises ClientError.

        An error has `was_lost` where an earlier try had no answer, and so may have taken effect.
        """
        deadline, pauses, was_lost = Deadline(timeout or self.timeout), Pauses(), False
        while True:
            try:
                response = await self.transport.unary(method, request, timeout=deadline.left)
                if response.DESCRIPTOR.file.package != PACKAGE and response.status.code:
                    raise errors.of_code(response.status.code, response.status.message)
                return response
            except Unavailable:
                pause = pauses.next()
                left = deadline.left
                if not is_repeatable or (left is not None and left <= pause):
                    raise
                was_lost = True
            except errors.ClientError as error:
                error.was_lost = was_lost
                raise
            await self.transport.sleep(pause)

    async def stream(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        """The messages of a stream. Raises ClientError."""
        stream = await self.transport.open(method, request, timeout=None)
        async for message in self.transport.messages(stream):
            yield message

    async def has_v1(self) -> bool:
        """Whether the server has kusciajob.v1; else it is a plain Kuscia. It is asked once."""
        if self._has_v1 is None:
            try:
                await self.ask(self.stubs.server.GetServerInfo, v1.GetServerInfoRequest())
                self._has_v1 = True
            except NotOffered:
                self._has_v1 = False
        return self._has_v1

    async def statuses(self, job_ids: Sequence[str]) -> dict[str, kuscia.JobStatusDetail]:
        """Of those that exist."""
        batch = self.stubs.jobs.BatchQueryJobStatus
        try:
            response = await self.ask(batch, kuscia.BatchQueryJobStatusRequest(job_ids=job_ids))
        except JobNotFound:
            if len(job_ids) == 1:
                return {}
            middle = len(job_ids) // 2  # one that is missing fails the whole batch
            return await self.statuses(job_ids[:middle]) | await self.statuses(job_ids[middle:])
        return {job.job_id: job.status for job in response.data.jobs}
