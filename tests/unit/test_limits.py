"""Limits of calls, streams, wrong tokens, jobs and output, apart from any transport."""

import asyncio
from pathlib import Path

import pytest

from kusciajob.api.gate import LimitReached, Limits, Quota, host_of, open_gates
from kusciajob.contracts import OutputStream, PartyKey
from kusciajob.events.hub import Hub
from kusciajob.files.holes import free_oldest
from kusciajob.model.errors import JobExists, TooManyJobs
from kusciajob.runtime.process.runtime import ProcessRuntime
from kusciajob.runtime.simulated import AnyImage
from kusciajob.security import delays
from kusciajob.security.delays import FailureDelays
from kusciajob.store.memory import MemoryStore
from kusciajob.telemetry.metrics import Metrics
from kusciajob.usecases.callers import MASTER
from kusciajob.usecases.jobs import JobService
from tests.support.builders import job_spec
from tests.support.clock import ManualClock


def test_each_holder_has_a_quota_of_its_own_and_leaves_nothing_behind() -> None:
    quota = Quota(2, "{holder} has {limit}")
    quota.take("a")
    quota.take("a")
    quota.take("b")
    with pytest.raises(LimitReached, match=r"^a has 2$"):
        quota.take("a")
    quota.give_back("a")
    quota.take("a")
    for holder in "aab":
        quota.give_back(holder)
    assert vars(quota)["_held"] == {}


def test_watch_streams_of_both_transports_share_a_limit() -> None:
    grpc, http = open_gates(Limits(streams_per_peer=2, watch_streams=2), Metrics())
    with grpc.stream("a", is_watch=True), http.stream("b", is_watch=True):
        with pytest.raises(LimitReached, match="max_watch_streams"), grpc.stream("c", is_watch=True):
            pass
        with grpc.stream("a", is_watch=False):
            with (
                pytest.raises(LimitReached, match=r"a has 2 streams open.*max_streams_per_peer"),
                grpc.stream("a", is_watch=False),
            ):
                pass
            with http.stream("a", is_watch=False):
                pass
    for gate in (grpc, http):
        with gate.stream("c", is_watch=True):
            pass


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:4711", "10.0.0.7"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[fe80::1]:4711", "fe80::1"),
        ("unix:/tmp/socket", "unix:/tmp/socket"),
    ],
)
def test_the_address_of_a_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host


def test_refusals_of_wrong_tokens_wait_longer_and_longer_and_are_forgotten() -> None:
    now = 0.0
    failures = FailureDelays(5.0, clock=lambda: now)
    assert [failures.note("a") for _ in range(delays.FREE_FAILURES)] == [0.0] * delays.FREE_FAILURES
    assert [failures.note("a") for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert failures.note("b") == 0.0
    for _ in range(100_000):
        failures.note("a")
    assert failures.note("a") == 5.0
    now = delays.FORGOTTEN_SECONDS + 1
    assert failures.note("a") == 0.0


def test_many_addresses_take_bounded_memory() -> None:
    failures = FailureDelays(5.0)
    for number in range(3 * delays.MAX_PEERS):
        failures.note(f"peer {number}")
    assert len(vars(failures)["_failures"]) == delays.MAX_PEERS


async def test_jobs_beyond_the_limit_are_refused_but_known_ones_are_accepted_again() -> None:
    store = MemoryStore()
    hub = Hub(store)
    service = JobService(store=store, hub=hub, images=AnyImage(), clock=ManualClock(), max_jobs=2)
    outcomes = await asyncio.gather(
        *(service.create(job_spec(f"job-{number}"), MASTER) for number in range(3)), return_exceptions=True
    )
    assert outcomes[:2] == ["job-0", "job-1"]
    assert isinstance(outcomes[2], TooManyJobs)
    assert "max_jobs" in str(outcomes[2])
    assert await service.create(job_spec("job-1"), MASTER) == "job-1"
    with pytest.raises(JobExists):
        await service.create(job_spec("job-1", initiator="bob"), MASTER)
    await service.delete("job-0", MASTER)
    assert await service.create(job_spec("job-2"), MASTER) == "job-2"


async def test_what_the_limit_of_output_leaves_is_read_without_the_hole(tmp_path: Path) -> None:
    runtime = ProcessRuntime(
        directory=tmp_path,
        domains=tmp_path,
        path="",
        ports=range(20_000, 20_001),
        stop_grace_seconds=0,
        progress_url=lambda _: "",
    )
    key = PartyKey(1, 0, 1, 0)
    file = tmp_path / "runs" / str(key) / "stdout.log"
    file.parent.mkdir(parents=True)
    written = b"".join(b"line %07d\n" % number for number in range(100_000))
    file.write_bytes(written)
    free_oldest(str(file), 400_000)
    read, offset = b"", 0
    while (piece := await runtime.read_output(key, OutputStream.STDOUT, offset)).data:
        read, offset = read + piece.data, piece.offset + len(piece.data)
    assert 100_000 < len(read) <= 400_000
    assert written.endswith(read)
    file.write_bytes(b"anew\n")  # what happens where files cannot have holes
    assert (await runtime.read_output(key, OutputStream.STDOUT, offset)).data == b"anew\n"
