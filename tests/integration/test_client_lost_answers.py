"""Answers that are lost after the call took effect: it is asked again, and nothing happens twice."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kusciajob.client import (
    AsyncClient,
    InvalidTransition,
    JobExists,
    JobNotFound,
    JobRejected,
    JobSpec,
    State,
    Task,
    Unavailable,
)
from kusciajob.client.settings import ClientSettings
from kusciajob.client.transport import AsyncTransport
from kusciajob.security.tokens import domain_file
from tests.support.secured import secured_server
from tests.support.server import RunningServer

KUSCIA = pytest.mark.settings(testing=True, quirks="kuscia")


class LosingAnswers(AsyncTransport):
    """A line on which the next answers are lost, as many as `lose` says; the server has done what it was asked."""

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(settings)
        self.lose = 0
        self.asked: list[str] = []

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        self.asked.append(type(request).__name__)
        answer = await super().unary(method, request, timeout=timeout)
        if self.lose:
            self.lose -= 1
            raise Unavailable(self.address, "the answer was lost")
        return answer


@pytest.fixture
async def line(server: RunningServer) -> AsyncIterator[LosingAnswers]:
    transport = LosingAnswers(ClientSettings(server.address))
    yield transport
    await transport.close()


def spec(job_id: str = "j1", **script: Any) -> JobSpec:
    return JobSpec(job_id, "alice", [Task("psi", "any", ["alice", "bob"], input=script or "")], fields={"a": "b"})


async def replay(line: LosingAnswers) -> None:
    """Each call of a job's life, with two answers lost, and what may not be a success though it was asked again."""
    client = AsyncClient(transport=line)
    with pytest.raises(JobNotFound):
        await client.job("j1").status()

    async def lossy(work: Any) -> Any:
        line.lose = 2
        result = await work
        assert line.lose == 0
        return result

    job = await lossy(client.create(spec(seconds=1000)))
    line.lose = 1
    with pytest.raises(JobExists):
        await client.create(spec(seconds=999))
    line.lose = 0
    with pytest.raises(JobExists):  # what runs is not what is asked for
        await client.create(JobSpec("j1", "alice", [Task("psi", "any", ["alice", "bob"], input={"seconds": 1000})]))
    await job.wait(State.RUNNING, timeout=60)
    await lossy(job.suspend("why"))
    assert (await job.status()).state == State.SUSPENDED
    await lossy(job.stop("why"))
    assert (await job.status()).state == State.FAILED
    before = line.asked.count("RestartJobRequest")
    line.lose = 1
    with pytest.raises(Unavailable):
        await job.restart("why")
    assert line.asked.count("RestartJobRequest") == before + 1
    await lossy(job.cancel("why"))
    assert (await job.status()).state == State.CANCELLED
    replaced = await lossy(client.create(spec(), replace=True))
    assert (await replaced.result(timeout=60)).state == State.SUCCEEDED
    await lossy(job.delete())
    with pytest.raises(JobNotFound):
        await job.delete()
    await lossy(client.create(spec("j2")))


async def test_here_nothing_happens_twice(line: LosingAnswers) -> None:
    await replay(line)
    client = AsyncClient(transport=line)
    await client.job("j2").result(timeout=60)
    events = [entry.event for entry in await client.job("j2").history()]
    assert events.count("created") == 1
    assert events.count("task_started") == 1


@KUSCIA
async def test_on_a_plain_kuscia_nothing_happens_twice(line: LosingAnswers) -> None:
    await replay(line)


async def test_a_rejection_whose_answer_was_lost_is_no_error(tmp_path: Path) -> None:
    async with secured_server(tmp_path, require_approval=True) as place:
        certs = ClientSettings(place.server.address, place.certs, domain_file(place.certs, "bob"))
        bob, alice = LosingAnswers(certs), AsyncClient(place.server.address, cert_dir=place.certs)
        job = await alice.create(spec())
        bob.lose = 2
        await AsyncClient(transport=bob).job("j1").reject("no")
        assert bob.asked.count("ApproveJobRequest") == 3
        with pytest.raises(JobRejected):
            await job.result(timeout=60)
        with pytest.raises(InvalidTransition):  # this time it was not the call itself that had rejected it
            await AsyncClient(transport=bob).job("j1").reject("no")
        await bob.close()
        await alice.close()
