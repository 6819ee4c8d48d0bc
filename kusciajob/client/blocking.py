"""The client, blocking: for any thread, with or without an event loop there."""

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Self, TypeVar

from kusciajob.client.aio import AsyncClient
from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.calling import CALL_SECONDS
from kusciajob.client.errors import ClientError, Problem
from kusciajob.client.settings import find_settings
from kusciajob.client.specs import AnyJob
from kusciajob.client.transport import BlockingTransport, run
from kusciajob.client.values import AppImage, Change, HistoryEntry, JobStatus, JobSummary, LogLine, ServerInfo

_Item = TypeVar("_Item")


class Client:
    """AsyncClient with methods that block."""

    def __init__(
        self,
        address: str | None = None,
        *,
        cert_dir: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        timeout: float = CALL_SECONDS,
    ) -> None:
        settings = find_settings(address, cert_dir=cert_dir, token_file=token_file)
        self._client = AsyncClient(timeout=timeout, transport=BlockingTransport(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        run(self._client.close())

    def create(self, job: AnyJob, *, replace: bool = False) -> "Job":
        return Job(run(self._client.create(job, replace=replace)))

    def job(self, job_id: str) -> "Job":
        return Job(self._client.job(job_id))

    def jobs(
        self,
        *,
        state: str | Sequence[str] = (),
        party: str = "",
        initiator: str = "",
        created_after: datetime | None = None,
        fields: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[JobSummary]:
        return _iterate(
            self._client.jobs(
                state=state,
                party=party,
                initiator=initiator,
                created_after=created_after,
                fields=fields,
                labels=labels,
                limit=limit,
            )
        )

    def statuses(self, *job_ids: str, missing: Literal["raise", "skip"] = "raise") -> dict[str, JobStatus]:
        return run(self._client.statuses(*job_ids, missing=missing))

    def watch(
        self,
        jobs: str | Sequence[str] = (),
        *,
        state: str | Sequence[str] = (),
        party: str = "",
        initiator: str = "",
        since: int | None = None,
        timeout: float | None = None,
        on_outage: Callable[[ClientError], object] | None = None,
    ) -> Iterator[Change]:
        return _iterate(
            self._client.watch(
                jobs,
                state=state,
                party=party,
                initiator=initiator,
                since=since,
                timeout=timeout,
                on_outage=on_outage,
            )
        )

    def validate(self, job: AnyJob) -> list[Problem]:
        return run(self._client.validate(job))

    def images(self) -> list[AppImage]:
        return run(self._client.images())

    def server_info(self) -> ServerInfo:
        return run(self._client.server_info())

    def wait_ready(self, timeout: float | None = None) -> None:
        run(self._client.wait_ready(timeout))


class Job:
    """AsyncJob with methods that block."""

    def __init__(self, job: AsyncJob) -> None:
        self._job = job
        self.job_id = job.job_id

    def __repr__(self) -> str:
        return repr(self._job)

    def status(self) -> JobStatus:
        return run(self._job.status())

    def wait(
        self,
        *states: str,
        timeout: float | None = None,
        on_change: Callable[[JobStatus], object] | None = None,
        on_outage: Callable[[ClientError], object] | None = None,
    ) -> JobStatus:
        return run(self._job.wait(*states, timeout=timeout, on_change=on_change, on_outage=on_outage))

    def result(self, timeout: float | None = None) -> JobStatus:
        return run(self._job.result(timeout))

    def stop(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        run(self._job.stop(reason, wait=wait, timeout=timeout))

    def suspend(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        run(self._job.suspend(reason, wait=wait, timeout=timeout))

    def restart(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        run(self._job.restart(reason, wait=wait, timeout=timeout))

    def cancel(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        run(self._job.cancel(reason, wait=wait, timeout=timeout))

    def delete(self, reason: str = "", *, wait: bool = True, timeout: float | None = None) -> None:
        run(self._job.delete(reason, wait=wait, timeout=timeout))

    def approve(self, reason: str = "") -> None:
        run(self._job.approve(reason))

    def reject(self, reason: str = "") -> None:
        run(self._job.reject(reason))

    def logs(
        self,
        task: str,
        party: str = "",
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        attempt: int = 0,
    ) -> Iterator[LogLine]:
        return _iterate(self._job.logs(task, party, follow=follow, tail=tail, since=since, attempt=attempt))

    def history(self) -> list[HistoryEntry]:
        return run(self._job.history())


def _iterate(items: AsyncGenerator[_Item, None]) -> Iterator[_Item]:
    try:
        while True:
            try:
                item = run(items.asend(None))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())


def _tell_alike(ours: type, theirs: type) -> None:
    """The same is promised: `help` shows it here, too."""
    for name, method in vars(ours).items():
        if not name.startswith("_") and callable(method):
            method.__doc__ = getattr(theirs, name).__doc__


_tell_alike(Client, AsyncClient)
_tell_alike(Job, AsyncJob)
