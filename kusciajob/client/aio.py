"""The client, for asyncio. The blocking one has the same methods, and this one inside."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Literal, Self

from kusciajob.api import kuscia, v1
from kusciajob.client import values
from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.calling import Calling, Deadline, Pauses
from kusciajob.client.errors import (
    JobExists,
    JobNotFound,
    NotOffered,
    Problem,
    Unavailable,
)
from kusciajob.client.settings import find_settings
from kusciajob.client.specs import AnyJob, needs_v1, request_of
from kusciajob.client.transport import AsyncTransport, Transport
from kusciajob.client.values import Change, JobStatus, JobSummary, timestamp
from kusciajob.client.watching import Choice, watch

CALL_SECONDS = 60.0
PAGE = 500


def words(value: str | Sequence[str]) -> tuple[str, ...]:
    """One word, or several."""
    return (value,) if isinstance(value, str) else tuple(value)


class AsyncClient:
    """A client of this server, or of a plain Kuscia, which lacks some calls (NotOffered).

    Address and TLS are given, or those of the environment (`KUSCIAJOB_ADDRESS`, `_CERT_DIR`, `_TOKEN_FILE`).
    `timeout`: seconds for a call; while the server is away, it is tried again as long.
    Raises OSError, SecurityError with the first call if the certificates or the token cannot be used.
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
        settings = find_settings(address, cert_dir=cert_dir, token_file=token_file)
        self._calling = Calling(transport or AsyncTransport(settings), timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls in progress end with an error."""
        await self._calling.transport.close()

    async def create(self, job: AnyJob, *, replace: bool = False) -> AsyncJob:
        """Create a job; one that exists already and is identical is a success. `replace` deletes what has its id first.

        Raises InvalidJob, JobExists, NotAllowed, LimitReached, NotOffered, Unavailable.
        """
        request = request_of(job)
        handle = self.job(request.job.job_id)
        if replace:
            with suppress(JobNotFound):
                await handle.delete()
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
        while left > 0:
            request.page_size = int(min(PAGE, left))
            page = await self._calling.ask(self._calling.stubs.v1.ListJobs, request)
            for job in page.jobs:
                yield values.summary_of(job)
            left -= len(page.jobs)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

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
    ) -> AsyncGenerator[Change, None]:
        """First the jobs that exist as ADDED, or, with `since`, what follows that revision; then each change.

        Lost connections are made again: no change of a job that matters now is missed, none is told twice, and what
        was deleted meanwhile is told as DELETED. It ends after `timeout` seconds.
        Raises RevisionGone if `since` can no longer be used.
        """
        choice = Choice(words(jobs), words(state), party, initiator)
        async with aclosing(watch(self._calling, choice, since=since, timeout=timeout)) as changes:
            async for change in changes:
                yield change

    async def validate(self, job: AnyJob) -> list[Problem]:
        """All that is wrong with a job; empty if it would be accepted now. Nothing is stored."""
        request = v1.ValidateJobRequest(request=request_of(job))
        response = await self._calling.ask(self._calling.stubs.v1.ValidateJob, request)
        return [Problem(each.field, each.description) for each in response.problems]

    async def images(self) -> list[str]:
        """The names of the AppImages that tasks can have."""
        request, names = v1.ListAppImagesRequest(), []
        while True:
            page = await self._calling.ask(self._calling.stubs.app_images.ListAppImages, request)
            names += [image.name for image in page.app_images]
            if not page.next_page_token:
                return names
            request.page_token = page.next_page_token

    async def server_info(self) -> v1.GetServerInfoResponse:
        """What the server is and allows."""
        info: v1.GetServerInfoResponse = await self._calling.ask(
            self._calling.stubs.server.GetServerInfo, v1.GetServerInfoRequest()
        )
        return info

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Return once the server can do its work. Unavailable after so many seconds."""
        deadline, pauses = Deadline(timeout or self._calling.timeout), Pauses()
        while True:
            health = self._calling.stubs.health.healthZ
            response = await self._calling.ask(health, kuscia.HealthRequest(), timeout=deadline.left or None)
            if response.data.ready:
                return
            if deadline.is_over:
                raise Unavailable("the server", "it answers, but is not ready")
            await self._calling.transport.sleep(pauses.next())

    async def _exists_already(self, wanted: kuscia.CreateJobRequest) -> bool:
        """Whether the job that has the id is the one that is wanted."""
        query = self._calling.stubs.jobs.QueryJob
        data = (await self._calling.ask(query, kuscia.QueryJobRequest(job_id=wanted.job_id))).data
        if data.initiator != wanted.initiator or len(data.tasks) != len(wanted.tasks):
            return False
        return all(
            has.alias == task.alias
            and has.app_image == task.app_image
            and has.task_input_config == task.task_input_config
            and task.task_id in ("", has.task_id)
            and list(has.dependencies) == list(task.dependencies)
            and [(p.domain_id, p.role) for p in has.parties] == [(p.domain_id, p.role) for p in task.parties]
            for has, task in zip(data.tasks, wanted.tasks, strict=True)
        )
