"""Who lost the token, or whose client certificate's authority is gone, is told nothing more from the next reload on."""

import asyncio
import http.client
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc, log_pb2, log_pb2_grpc
from kusciajob.security.authorities import has_lost_authority, is_vouched_for
from kusciajob.security.provisioning import provision
from kusciajob.security.tokens import domain_file
from tests.support.callers import Caller
from tests.support.images import python_program, write_image
from tests.support.polling import eventually
from tests.support.requests import job_request, task_request
from tests.support.secured import SERVER_NAMES, Place, secured_server

pytestmark = pytest.mark.hostile

TASK = "talks"
TALKS = python_program("import time\nprint('hello', flush=True)\ntime.sleep(600)\n")
LOG = {"task_id": TASK, "follow": True}
STREAMS = ("WatchJob", "QueryLog", "Health.Watch", "http watch", "http log")


class Listener:
    """Every kind of stream of one caller: what each was told, and how it ended."""

    def __init__(self, place: Place, caller: Caller, channel: grpc.aio.Channel) -> None:
        self.told: dict[str, int] = dict.fromkeys(STREAMS, 0)
        self.ended: dict[str, object] = {}
        self.caller = caller
        self.stub = job_pb2_grpc.JobServiceStub(channel)
        logs, metadata = log_pb2_grpc.LogServiceStub(channel), caller.metadata
        log = log_pb2.QueryLogRequest(task_id=TASK, follow=True)
        health = health_pb2_grpc.HealthStub(channel)
        self.tasks = [
            asyncio.create_task(work)
            for work in (
                self._listen("WatchJob", self.stub.WatchJob(pb.WatchJobRequest(), metadata=metadata)),
                self._listen("QueryLog", logs.QueryLog(log, metadata=metadata)),
                self._listen("Health.Watch", health.Watch(health_pb2.HealthCheckRequest(), metadata=metadata)),
                self._listen_http("http watch", place.http_address, "/api/v1/job/watch", {}),
                self._listen_http(
                    "http log", place.http_address, "/api/v1/log/task/query", {"task_id": TASK, "follow": True}
                ),
            )
        ]

    async def _listen(self, name: str, call: Any) -> None:
        try:
            async for _ in call:
                self.told[name] += 1
            self.ended[name] = None
        except grpc.aio.AioRpcError as error:
            self.ended[name] = error.code()

    async def _listen_http(self, name: str, address: str, path: str, body: Mapping[str, object]) -> None:
        reader, writer = await asyncio.open_connection(*address.split(":"), ssl=self.caller.ssl_context)
        sent = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n"
        writer.write(f"{head}Token: {self.caller.token}\r\n\r\n{sent}".encode())
        last = b""
        with suppress(ConnectionError):
            async for line in reader:
                last = line if line.strip() else last
                self.told[name] += line.startswith(b"{")
        self.ended[name] = "broken off" if last != b"0\r\n" else "complete"
        writer.close()

    @property
    def news(self) -> int:
        """Events told, over both transports."""
        return self.told["WatchJob"] + self.told["http watch"]

    @property
    def hears_all(self) -> bool:
        return all(self.told.values()) and not self.ended


ENDED = {
    "WatchJob": grpc.StatusCode.UNAUTHENTICATED,
    "QueryLog": grpc.StatusCode.UNAUTHENTICATED,
    "Health.Watch": grpc.StatusCode.UNAUTHENTICATED,
    "http watch": "broken off",
    "http log": "broken off",
}


@asynccontextmanager
async def listening(place: Place, caller: Caller) -> AsyncIterator[Listener]:
    async with caller.channel(place.server.address) as channel:
        listener = Listener(place, caller, channel)
        await eventually(lambda: listener.hears_all)
        yield listener
        for task in listener.tasks:
            task.cancel()
        await asyncio.wait(listener.tasks)


@asynccontextmanager
async def talking(directory: Path, protocol: str) -> AsyncIterator[Place]:
    """A job of alice and bob runs, whose programs have said something."""
    write_image(directory / "images", "talks", TALKS)
    async with secured_server(
        directory, protocol=protocol, runtime="process", app_image_dir=directory / "images", stop_grace_seconds=0
    ) as place:
        async with place.master.channel(place.server.address) as channel:
            request = job_request("talking", task_request("t", "talks", task_id=TASK))
            response = await job_pb2_grpc.JobServiceStub(channel).CreateJob(request, metadata=place.master.metadata)
            assert response.status.code == 0, response.status
        yield place


async def reload(place: Place) -> None:
    words = "certificates and master token read"
    told = place.server.log.read_text().count(words)
    place.server.process.send_signal(signal.SIGHUP)
    await eventually(lambda: place.server.log.read_text().count(words) > told)


async def hear_of(job_id: str, master: Listener, *others: Listener) -> None:
    """Their streams go on: they are told of another job of alice and bob, which the master creates."""
    listeners = [master, *others]
    before = [listener.news for listener in listeners]
    await master.stub.CreateJob(job_request(job_id, task_request("t", "talks")), metadata=master.caller.metadata)

    def have_heard() -> bool:
        return all(listener.news > told + 1 for listener, told in zip(listeners, before, strict=True))

    await eventually(have_heard)
    assert [listener.ended for listener in listeners] == [{}] * len(listeners)


@pytest.mark.parametrize("protocol", ["tls", "mtls"])
async def test_streams_end_with_their_token_and_others_go_on(tmp_path: Path, protocol: str) -> None:
    async with (
        talking(tmp_path, protocol) as place,
        listening(place, place.master) as master,
        listening(place, place.domain("alice")) as alice,
        listening(place, place.domain("bob")) as bob,
    ):
        domain_file(place.certs, "alice").unlink()
        await reload(place)
        await eventually(lambda: alice.ended == ENDED)
        await hear_of("second", master, bob)

        domain_file(place.certs, "bob").write_text("An0therT0ken")
        await reload(place)
        await eventually(lambda: bob.ended == ENDED)

        (place.certs / "token").write_text("An0therMastersT0ken")
        await reload(place)
        await eventually(lambda: master.ended == ENDED)
    assert "ended 5 streams" in place.server.log.read_text()
    assert "Traceback" not in place.server.log.read_text()


async def test_a_reload_that_withdraws_nothing_ends_nothing(tmp_path: Path) -> None:
    async with talking(tmp_path, "mtls") as place, listening(place, place.master) as master:
        more = (place.certs / "ca.crt").read_bytes() + (place.foreign / "ca.crt").read_bytes()
        (place.certs / "ca.crt").write_bytes(more)
        domain_file(place.certs, "dave").write_text("Dav3sT0ken")
        await reload(place)
        (place.certs / "token").write_text("")  # cannot be used: nothing changes
        place.server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "stay as they were" in place.server.log.read_text())
        await hear_of("second", master)


async def test_an_authority_that_is_gone_takes_streams_and_older_connections_with_it(tmp_path: Path) -> None:
    async with talking(tmp_path, "mtls") as place:
        old, new = (place.certs / "ca.crt").read_bytes(), (place.foreign / "ca.crt").read_bytes()
        (place.certs / "ca.crt").write_bytes(old + new)
        await reload(place)
        newcomer = Caller(tmp_path / "trust", place.foreign, place.master.token)
        (tmp_path / "trust").mkdir()
        (tmp_path / "trust" / "ca.crt").write_bytes(old)  # the server's own certificate stays
        async with listening(place, place.master) as leaver, listening(place, newcomer) as stayer:
            (place.certs / "ca.crt").write_bytes(new)
            await reload(place)
            await eventually(lambda: leaver.ended == ENDED)
            query = pb.QueryJobRequest(job_id="talking")
            # The same connection, with a token that is still right.
            with pytest.raises(grpc.aio.AioRpcError, match="the client certificate was withdrawn"):
                await leaver.stub.QueryJob(query, metadata=leaver.caller.metadata)
            with pytest.raises(grpc.aio.AioRpcError, match="the client certificate was withdrawn"):
                await leaver.stub.WatchJob(pb.WatchJobRequest(), metadata=leaver.caller.metadata).read()
            told = await stayer.stub.QueryJob(query, metadata=stayer.caller.metadata)
            assert told.status.code == 0
            assert stayer.ended == {}


async def test_an_older_http_connection_is_refused_too(tmp_path: Path) -> None:
    async with secured_server(tmp_path) as place:
        connection = place.master.connect_http(place.http_address)

        def ask() -> tuple[int, str]:
            connection.request("POST", "/api/v1/job/query", "{}", {"Token": place.master.token or ""})
            response = connection.getresponse()
            return response.status, response.read().decode()

        try:
            assert (await asyncio.to_thread(ask))[0] == 200
            (place.certs / "ca.crt").write_bytes((place.foreign / "ca.crt").read_bytes())
            await reload(place)
            status, text = await asyncio.to_thread(ask)
            assert status == 401
            assert "the client certificate was withdrawn" in text
        finally:
            connection.close()


async def read_out(call: Any) -> None:
    while await call.read():
        pass


async def test_a_stream_that_nobody_reads_is_ended_as_well(tmp_path: Path) -> None:
    """It is blocked in sending, not in waiting for news."""
    async with secured_server(tmp_path) as place:
        alice = place.domain("alice")
        async with place.master.channel(place.server.address) as channel:
            stub = job_pb2_grpc.JobServiceStub(channel)
            for number in range(20):
                long = task_request("t", task_input_config='{"seconds": 600}')
                tasks = [task_request(f"{'t' * 200}-{task}", dependencies=["t"]) for task in range(100)]
                response = await stub.CreateJob(
                    job_request(f"job-{number}", long, *tasks), metadata=place.master.metadata
                )
                assert response.status.code == 0, response.status
        connection = alice.connect_http(place.http_address)
        await asyncio.to_thread(connection.request, "POST", "/api/v1/job/watch", "{}", {"Token": alice.token or ""})
        async with alice.channel(place.server.address) as channel:
            watch = job_pb2_grpc.JobServiceStub(channel).WatchJob(
                pb.WatchJobRequest(timeout_seconds=30), metadata=alice.metadata
            )
            await watch.read()
            domain_file(place.certs, "alice").unlink()
            await reload(place)
            await eventually(lambda: "ended 2 streams" in place.server.log.read_text())
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_out(watch)
            assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises((http.client.HTTPException, OSError)):
            await asyncio.to_thread(lambda: connection.getresponse().read())
        connection.close()


def test_an_authority_vouches_for_what_it_has_signed_only(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    provision(mine, names=SERVER_NAMES, domains=[])
    provision(other, names=SERVER_NAMES, domains=[])
    certificate = (mine / "client.crt").read_bytes()
    ours, theirs = ((directory / "ca.crt").read_bytes() for directory in (mine, other))
    assert is_vouched_for(certificate, ours)
    assert is_vouched_for(certificate, theirs + ours)
    assert is_vouched_for(ours, ours)
    for unknown, authorities in ((certificate, theirs), (b"", ours), (b"nonsense", ours), (certificate, b"")):
        assert not is_vouched_for(unknown, authorities)
    assert not has_lost_authority(ours, theirs + ours)
    assert not has_lost_authority(None, None)
    assert has_lost_authority(ours + theirs, ours)
    assert has_lost_authority(ours, theirs)
    assert has_lost_authority(ours, b"")
