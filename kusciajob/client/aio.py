"""The client, for asyncio. The blocking one has the same methods, and this one inside."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Literal, Self

from kusciajob.api import kuscia, v1
from kusciajob.client import values
from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.calling import CALL_SECONDS, Calling, Deadline, Pauses
from kusciajob.client.errors import (
    ClientError,
    JobExists,
    JobNotFound,
    NotOffered,
    Problem,
    Unavailable,
)
from kusciajob.client.settings import find_settings
from kusciajob.client.specs import AnyJob, is_same, needs_v1, request_of
from kusciajob.client.transport import AsyncTransport, Transport
from kusciajob.client.values import AppImage, Change, JobStatus, JobSummary, ServerInfo, timestamp
from kusciajob.client.watching import Choice, watch

PAGE = 500


def words(value: str | Sequence[str]) -> tuple[str, ...]:
    """One word, or several."""
    return (value,) if isinstance(value, str) else tuple(value)


class AsyncClient:
    """A client of this server, or of a plain Kuscia, which lacks some calls (NotOffered).

    Address and TLS are given, or those of the environment (`KUSCIAJOB_ADDRESS`, `_CERT_DIR`, `_TOKEN_FILE`).
    `timeout`: seconds for a call; while the server is away, it is tried again as long.
    Raises ValueError for a token file without certificates; with the first call OSError, SecurityError if the
    certificates or the token cannot be used.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cert_dir: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        timeout: float = CALL_SECONDS,
        transport: Transport | None = None,
    ) -> None:
        if transport is None:
            transport = AsyncTransport(find_settings(address, cert_dir=cert_dir, token_file=token_file))
        self._calling = Calling(transport, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls in progress end with an error."""
        await self._calling.transport.close()

    async def create(self, job: AnyJob, *, replace: bool = False) -> AsyncJob:
        """Create a job; one that exists already and is identical is a success. `replace` deletes what has its id first.

        Raises InvalidJob, JobExists, NotAllowed, LimitReached, NotOffered, Unavailable; WaitTimeout if a plain Kuscia
        does not let go of the former job.
        """
        request = request_of(job)
        handle = self.job(request.job.job_id)
        if replace:
            with suppress(JobNotFound):
                await handle.delete(timeout=self._calling.timeout)
        if await self._calling.has_v1():
            await self._calling.ask(self._calling.stubs.v1.SubmitJob, request)
        elif beyond := needs_v1(request):
            raise NotOffered(f"a plain Kuscia knows no {', '.join(beyond)}")
        else:
            try:
                await self._calling.ask(self._calling.stubs.jobs.CreateJob, request.job)
            except JobExists:
                if not await self._exists_already(request.job):
                    raise
        return handle

    def job(self, job_id: str) -> AsyncJob:
        """A handle; no call is made."""
        return AsyncJob(self._calling, job_id)

    async def jobs(
        self,
        *,
        state: str | Sequence[str] = (),
        party: str = "",
        initiator: str = "",
        created_after: datetime | None = None,
        fields: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[JobSummary, None]:
        """The jobs that pass, newest first, at most `limit`."""
        request = v1.ListJobsRequest(
            states=words(state),
            party=party,
            initiator=initiator,
            created_after=timestamp(created_after),
            custom_fields=[f"{key}={value}" for key, value in (fields or {}).items()],
            labels=[f"{key}={value}" for key, value in (labels or {}).items()],
        )
        left = float("inf") if limit is None else limit
        if left <= 0:
            return
        request.page_size = int(min(PAGE, left))
        async with aclosing(self._calling.pages(self._calling.stubs.v1.ListJobs, request)) as pages:
            async for page in pages:
                for job in page.jobs:
                    yield values.summary_of(job)
                    left -= 1
                    if left == 0:
                        return

    async def statuses(self, *job_ids: str, missing: Literal["raise", "skip"] = "raise") -> dict[str, JobStatus]:
        """The statuses by job id. JobNotFound for an unknown one, or it is left out."""
        found = await self._calling.statuses(job_ids) if job_ids else {}
        absent = [job_id for job_id in job_ids if job_id not in found]
        if absent and missing == "raise":
            raise JobNotFound(0, f"not found: {', '.join(absent)}")
        return {job_id: values.status_of(job_id, found[job_id]) for job_id in job_ids if job_id in found}

    async def watch(
        self,
        jobs: str | Sequence[str] = (),
        *,
        state: str | Sequence[str] = (),
        party: str = "",
        initiator: str = "",
        since: int | None = None,
        timeout: float | None = None,
        on_outage: Callable[[ClientError], object] | None = None,
    ) -> AsyncGenerator[Change, None]:
        """First the jobs that exist as ADDED, or, with `since`, what follows that revision; then each change.

        Lost connections are made again: no change of a job that matters now is missed, none is told twice, and what
        was deleted meanwhile is told as DELETED. It ends after `timeout` seconds. `on_outage` is told why a connection
        is made again.
        Raises RevisionGone if `since` can no longer be used.
        """
        choice = Choice(words(jobs), words(state), party, initiator)
        following = watch(self._calling, choice, since=since, timeout=timeout, on_outage=on_outage)
        async with aclosing(following) as changes:
            async for change in changes:
                yield change

    async def validate(self, job: AnyJob) -> list[Problem]:
        """All that is wrong with a job; empty if it would be accepted now. Nothing is stored."""
        request = v1.ValidateJobRequest(request=request_of(job))
        response = await self._calling.ask(self._calling.stubs.v1.ValidateJob, request)
        return [Problem(each.field, each.description) for each in response.problems]

    async def images(self) -> list[AppImage]:
        """The AppImages that tasks can have."""
        request = v1.ListAppImagesRequest()
        async with aclosing(self._calling.pages(self._calling.stubs.app_images.ListAppImages, request)) as pages:
            return [values.image_of(image) async for page in pages for image in page.app_images]

    async def server_info(self) -> ServerInfo:
        """What the server is and allows."""
        method, request = self._calling.stubs.server.GetServerInfo, v1.GetServerInfoRequest()
        return values.info_of(await self._calling.ask(method, request))

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Return once the server can do its work. Unavailable after so many seconds."""
        deadline, pauses = Deadline(self._calling.timeout if timeout is None else timeout), Pauses()
        while True:
            health, left = self._calling.stubs.health.healthZ, deadline.left
            if (await self._calling.ask(health, kuscia.HealthRequest(), timeout=left)).data.ready:
                return
            pause, left = pauses.next(), deadline.left
            if left is not None and left <= pause:
                raise Unavailable(self._calling.transport.address, "it answers, but cannot do its work yet")
            await self._calling.transport.sleep(pause)

    async def _exists_already(self, wanted: kuscia.CreateJobRequest) -> bool:
        """Whether the job that has the id is the one that is wanted, by what Kuscia tells of it."""
        return is_same(wanted, await self._calling.query(wanted.job_id))
