"""Jobs that run real processes: ports, groups, output, failures, and what is left of them."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from tests.support.images import python_program, write_image
from tests.support.polling import PATIENCE_SECONDS, eventually, eventually_true
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

LISTEN = python_program(
    "import os, socket, time\n"
    "name = 'KUSCIA_PORT_MAIN_NUMBER'\n"
    "own = socket.create_server(('127.0.0.1', int(os.environ[name])))\n"
    "open(os.path.join(os.environ['KUSCIAJOB_DOMAIN_DIR'], os.environ[name]), 'w').close()\n"
    "time.sleep(600)\n"
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    write_image(images, "listen", LISTEN, ports=["main"])
    write_image(images, "show", ["cat", "conf/task.json"], ports=["a-b"])
    write_image(images, "environment", ["env"], env=[{"name": "COLOUR", "value": "green"}])
    write = 'mkdir "$TMPDIR/deep"; echo clear > "$TMPDIR/deep/secret"; cat "$TMPDIR/deep/secret"'
    write_image(images, "litter", ["sh", "-c", f'{write}; [ "$KUSCIA_DOMAIN_ID" = bob ]'])
    write_image(images, "fail", ["sh", "-c", "echo no room on the moon >&2; exit 3"])
    write_image(images, "sleep", ["sleep", "600"])
    write_image(images, "stubborn", ["sh", "-c", "trap '' TERM; sleep 600 & sleep 600 & wait"])
    write_image(images, "absent", ["no-such-program-anywhere"])
    write_image(images, "fail-alice", ["sh", "-c", '[ "$KUSCIA_DOMAIN_ID" = bob ] || exit 7; sleep 600'])
    write_image(images, "talk", ["sh", "-c", "echo to be read; sleep 0.2; echo the end; echo a warning >&2"])
    write_image(images, "broken-config", ["true"], env=[{"name": "X", "value": "y"}])
    async with running_server(
        tmp_path, app_image_dir=images, domains_dir=tmp_path / "domains", stop_grace_seconds=0.5
    ) as server:
        yield server


async def output(server: RunningServer, task_id: str, *, domain: str = "", follow: bool = False) -> str:
    request = log_pb2.QueryLogRequest(task_id=task_id, follow=follow)
    request.header.custom_headers["domain"] = domain
    text = ""
    async for response in log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request):
        assert response.status.code == 0, response.status.message
        text += response.log
    return text


@pytest.mark.hostile
async def test_two_hundred_parties_at_once_have_ports_of_their_own_and_leave_nothing(
    server: RunningServer, tmp_path: Path
) -> None:
    domains = [f"d{number}" for number in range(25)]
    tasks = [task_request(f"t{number}", "listen", domains) for number in range(8)]
    await create(server.stub, job_request("many", *tasks, max_parallelism=8))

    def all_listen() -> bool:
        return len(list((tmp_path / "domains").glob("*/*"))) == 200

    await eventually(all_listen, timeout_seconds=60)

    async def running() -> list[str]:
        status = await status_of(server.stub, "many")
        parties = [party for task in status.tasks for party in task.parties if party.state == "Running"]
        return [party.endpoints[0].endpoint for party in parties] if len(parties) == 200 else []

    addresses = await eventually_true(running)
    assert len(set(addresses)) == 200
    for address in addresses[::20]:
        host, port = address.split(":")
        socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS).close()

    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="many"))
    await eventually(lambda: no_party_left(server))


def no_party_left(server: RunningServer) -> bool:
    """Nothing but the shim works on the data directory."""
    return len(server.left_processes()) <= 1 and not list((server.data_dir / "runs").iterdir())


async def test_a_party_that_ignores_sigterm_is_gone_after_the_grace_period(server: RunningServer) -> None:
    await create(server.stub, job_request("deaf", task_request("t", "stubborn")))
    await in_state(server.stub, "deaf", "Running")
    await server.stub.StopJob(pb.StopJobRequest(job_id="deaf", reason="now"))
    status = await ended(server.stub, "deaf")
    assert (status.state, status.tasks[0].err_msg) == ("Failed", "Job was stopped")
    # A job that is told to be over has no process any more.
    assert len(server.left_processes()) <= 1


async def test_when_one_party_fails_the_others_are_stopped_at_once(server: RunningServer) -> None:
    await create(server.stub, job_request("pair", task_request("t", "fail-alice")))
    status = await ended(server.stub, "pair")
    assert status.state == "Failed"
    alice, bob = status.tasks[0].parties
    assert (alice.state, alice.err_msg) == ("Failed", "exit code 7")
    assert (bob.state, bob.err_msg) == ("Failed", "stopped because party alice failed")
    assert status.err_msg == "Task[t]-Party[alice]: exit code 7; Task[t]-Party[bob]: stopped because party alice failed"


async def test_a_failure_tells_exit_code_and_the_last_lines_of_stderr(server: RunningServer) -> None:
    await create(server.stub, job_request("moon", task_request("t", "fail", ["alice"])))
    status = await ended(server.stub, "moon")
    assert status.err_msg == "Task[t]-Party[alice]: exit code 3: no room on the moon"


async def test_a_program_that_does_not_exist_fails_the_task_and_is_told_as_error(server: RunningServer) -> None:
    call = server.stub.WatchJob(pb.WatchJobRequest())
    await create(server.stub, job_request("none", task_request("t", "absent", ["alice"])))
    status = await ended(server.stub, "none")
    assert 'command "no-such-program-anywhere" was not found on PATH' in status.err_msg
    kinds = []
    async for event in call:
        kinds.append((event.type, event.object.status.state))
        if event.type == pb.ERROR:
            assert 'command "no-such-program-anywhere" was not found' in event.object.status.err_msg
            break
    assert (pb.MODIFIED, "Failed") in kinds
    call.cancel()


async def test_a_program_finds_its_task_its_peers_and_its_ports(server: RunningServer) -> None:
    task = task_request("t", "show", task_input_config='{"rows": "a\\n\\"b\\""}')
    await create(server.stub, job_request("shown", task))
    status = await ended(server.stub, "shown")
    task_id = status.tasks[0].task_id
    told = json.loads(await output(server, task_id, domain="bob"))
    assert told["task_id"] == task_id
    assert json.loads(told["input"]) == {"rows": 'a\n"b"'}
    cluster = json.loads(told["cluster"])
    assert cluster["selfPartyIdx"] == 1
    assert [party["name"] for party in cluster["parties"]] == ["alice", "bob"]
    own = status.tasks[0].parties[1].endpoints[0]
    assert cluster["parties"][1]["services"] == [{"portName": "a-b", "endpoints": [own.endpoint]}]
    ports = json.loads(told["ports"])["ports"]
    assert ports == [{"name": "a-b", "port": int(own.endpoint.split(":")[1]), "scope": "Cluster", "protocol": "TCP"}]


async def test_a_program_gets_a_small_environment_of_its_own(server: RunningServer) -> None:
    await create(server.stub, job_request("env", task_request("t", "environment", ["alice"])))
    status = await ended(server.stub, "env")
    text = await output(server, status.tasks[0].task_id)
    environment = dict(line.split("=", 1) for line in text.splitlines())
    assert environment["COLOUR"] == "green"
    assert environment["KUSCIA_DOMAIN_ID"] == "alice"
    assert environment["TMPDIR"].endswith("/tmp")
    assert "TASK_INPUT_CONFIG" not in environment
    assert "PWD" not in environment or environment["PWD"].endswith("/root/work")
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize(("domain", "state"), [("alice", "Failed"), ("bob", "Succeeded")])
async def test_temporary_files_are_gone_once_a_task_has_ended(server: RunningServer, domain: str, state: str) -> None:
    await create(server.stub, job_request("litter", task_request("t", "litter", [domain])))
    status = await ended(server.stub, "litter")
    assert status.state == state
    assert await output(server, status.tasks[0].task_id) == "clear\n"
    assert list(server.data_dir.glob("runs/**/secret")) == []


async def test_a_data_directory_beyond_a_link_is_the_one_that_the_system_means(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    images = tmp_path / "images"
    write_image(images, "where", ["sh", "-c", 'test . -ef "$HOME/work"'])
    async with running_server(tmp_path / "link" / "..", app_image_dir=images) as server:
        await create(server.stub, job_request("linked", task_request("t", "where", ["alice"])))
        assert (await ended(server.stub, "linked")).state == "Succeeded"
    assert not (tmp_path / "data").exists()


async def test_output_is_followed_while_it_is_written_and_kept_across_a_restart(server: RunningServer) -> None:
    await create(server.stub, job_request("chat", task_request("t", "talk", ["alice"])))
    task_id = (await status_of(server.stub, "chat")).tasks[0].task_id
    whole = "to be read\nthe end\na warning\n"
    assert sorted((await output(server, task_id, follow=True)).splitlines()) == sorted(whole.splitlines())
    await ended(server.stub, "chat")
    await server.restart()
    assert await output(server, task_id) == whole
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="chat"))
    request = log_pb2.QueryLogRequest(task_id=task_id)
    responses = [response async for response in log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request)]
    assert [response.status.code for response in responses] == [13200]


async def test_stop_while_tasks_are_starting_leaves_nothing(server: RunningServer) -> None:
    jobs = [f"s-{number}" for number in range(10)]
    for job_id in jobs:
        await create(server.stub, job_request(job_id, task_request("t", "sleep", ["alice", "bob", "carol"])))
        await server.stub.StopJob(pb.StopJobRequest(job_id=job_id))
    statuses = await asyncio.gather(*(ended(server.stub, job_id) for job_id in jobs))
    assert {status.state for status in statuses} == {"Failed"}
    assert len(server.left_processes()) <= 1


async def test_delete_while_tasks_are_starting_leaves_nothing(server: RunningServer) -> None:
    for _ in range(20):
        await create(server.stub, job_request("gone", task_request("t", "sleep", ["alice", "bob", "carol"])))
        await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="gone"))
    await eventually(lambda: no_party_left(server))


async def test_ports_are_given_back(server: RunningServer) -> None:
    async def endpoints() -> list[str]:
        status = await in_state(server.stub, "again", "Running")
        return [party.endpoints[0].endpoint for party in status.tasks[0].parties]

    await create(server.stub, job_request("again", task_request("t", "listen")))
    first = await endpoints()
    await server.stub.StopJob(pb.StopJobRequest(job_id="again"))
    await ended(server.stub, "again")

    async def are_free() -> bool:
        for address in first:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", int(address.split(":")[1])))
        return True

    await eventually_true(are_free)


REPORT = python_program(
    "import json, os, sys, time, urllib.request\n"
    "for progress in (0.25, 0.3, 0.42):\n"
    "    body = json.dumps({'progress': progress}).encode()\n"
    "    request = urllib.request.Request(os.environ['TASK_PROGRESS_URL'], body, method='POST')\n"
    "    assert urllib.request.urlopen(request).status == 200\n"
    "time.sleep(1.5)\n"
)


async def test_progress_that_a_program_reports_is_told_at_most_once_a_second(
    server: RunningServer, tmp_path: Path
) -> None:
    write_image(tmp_path / "images", "report", REPORT)
    call = server.stub.WatchJob(pb.WatchJobRequest())
    await create(server.stub, job_request("far", task_request("t", "report", ["alice"])))
    told = []
    async for event in call:
        told.append(round(event.object.status.tasks[0].progress, 6))
        if event.object.status.end_time:
            break
    call.cancel()
    assert list(dict.fromkeys(told)) in ([0.0, 0.25, 0.42, 1.0], [0.0, 0.3, 0.42, 1.0], [0.0, 0.42, 1.0])
