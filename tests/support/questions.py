"""The calls of kusciajob.v1 that answer questions, on a store of a test's own, without edges."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from kusciajob.api.calls.v1.questions import QuestionCalls
from kusciajob.contracts import EventHub, JobStore
from kusciajob.model import history, transitions
from kusciajob.model.history import Notes
from kusciajob.model.moves import PartyEvent
from kusciajob.model.transitions import PartyMove
from kusciajob.runtime.simulated import AnyImage, SimulatedRuntime
from kusciajob.usecases.dry_run import DryRun
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.questions import Questions
from tests.support.clock import ManualClock
from tests.support.stores import open_store


def secret_of(domain: str) -> str:
    """What only the domain and the master may read of a failure."""
    return f"the secret of {domain}"


class QuestionHouse:
    """`calls` are the RPCs, `service` makes jobs."""

    def __init__(self, store: JobStore, **limits: Any) -> None:
        self.store = store
        self.clock = ManualClock()
        images = AnyImage()
        self.service = JobService(store=store, hub=cast(EventHub, None), images=images, clock=self.clock, **limits)
        runtime = SimulatedRuntime(clock=self.clock, on_progress=lambda _key, _progress: None)
        self.calls: Any = QuestionCalls(
            self.service,
            Questions(store=store, jobs=self.service),
            DryRun(jobs=self.service, images=images, previewer=runtime),
        )

    async def fail(self, job_id: str) -> None:
        """The first task of a Pending job runs, and each of its parties fails with a secret of its own."""
        now = self.clock.now()
        job = transitions.admit(await self.store.get(job_id), 0, now=now)
        parties = range(len(job.spec.tasks[0].parties))
        job = transitions.place(job, 0, [()] * len(parties), now=now)
        started = [PartyMove(index, PartyEvent.STARTED) for index in parties]
        job = await self.store.replace(transitions.settle(transitions.move_parties(job, 0, started, now=now), now))
        secrets = [secret_of(party.domain_id) for party in job.spec.tasks[0].parties]
        failed = [PartyMove(index, PartyEvent.FAILED, "exit code 3", secrets[index]) for index in parties]
        ended = transitions.move_parties(job, 0, failed, now=now)
        attempts = history.attempts(job.status, ended.status, now=now)
        ended = transitions.settle(ended, now)
        entries = history.entries(job.status, ended.status, attempts, now=now)
        await self.store.replace(ended, notes=Notes(entries, attempts))


@asynccontextmanager
async def question_house(kind: str, directory: Path, **limits: Any) -> AsyncIterator[QuestionHouse]:
    """A house on a store of that kind."""
    store = await open_store(kind, directory)
    try:
        yield QuestionHouse(store, **limits)
    finally:
        await store.close()


async def pages_of(call: Any, request: Any, caller: Any, field: str) -> list[list[Any]]:
    """All pages of a list, each as its entries, from the request's page on."""
    pages: list[list[Any]] = []
    asked = type(request)()
    asked.CopyFrom(request)
    while True:
        page = await call(asked, caller)
        pages.append(list(getattr(page, field)))
        if not page.next_page_token:
            return pages
        asked.page_token = page.next_page_token
