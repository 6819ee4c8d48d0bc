"""replicas: each is an instance of the program with ports, directory and output of its own, and all make the party."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from kusciajob.contracts import PartyKey, PartySpec
from kusciajob.model.appimage import AppImage, Container, DeployTemplate, Port
from kusciajob.model.job import Party, Task
from kusciajob.runtime.process.runtime import ProcessRuntime
from tests.support.builders import job_spec
from tests.support.polling import eventually
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

INDEX = "index={{{.TASK_CLUSTER_DEFINE.selfEndpointIdx}}}\n"
DEFINE = "{{{.TASK_CLUSTER_DEFINE}}}"
PORTS = [{"name": "peer", "scope": "Cluster"}, {"name": "own"}]
TOUCH = '. ./index; echo $$$$ > "$KUSCIAJOB_DOMAIN_DIR/$index"; '
SCRIPTS = {
    "report": 'cat define.json; echo; echo "$KUSCIA_PORT_PEER_NUMBER $KUSCIA_PORT_OWN_NUMBER $PWD"',
    "last-fails": TOUCH + '[ "$index" != 2 ] || { echo no room >&2; exit 3; }; sleep 600',
    "wait": TOUCH + 'echo begun; while [ ! -e "$KUSCIAJOB_DOMAIN_DIR/go" ]; do sleep 0.02; done; echo gone on',
}


def document(name: str, script: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "workingDir": "/w",
        "command": ["sh", "-c", script],
        "ports": PORTS,
        "configVolumeMounts": [
            {"mountPath": "/w/index", "subPath": "index"},
            {"mountPath": "/w/define.json", "subPath": "define.json"},
        ],
    }
    return {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": name},
        "spec": {
            "configTemplates": {"index": INDEX, "define.json": DEFINE},
            "deployTemplates": [{"name": name, "replicas": 3, "spec": {"containers": [container]}}],
        },
    }


@pytest_asyncio.fixture(loop_scope="module")
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    images = tmp_path / "images"
    images.mkdir()
    items = [document(name, script) for name, script in SCRIPTS.items()]
    (images / "all.json").write_text(json.dumps({"kind": "List", "items": items}))
    async with running_server(tmp_path, app_image_dir=images, domains_dir=tmp_path / "domains") as server:
        yield server


async def output(server: RunningServer, status: pb.JobStatusDetail, replica: int) -> tuple[int, str]:
    """The code and the text of QueryLog."""
    text = ""
    request = log_pb2.QueryLogRequest(task_id=status.tasks[0].task_id, replica_idx=replica)
    async for response in log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request):
        if response.status.code:
            return response.status.code, response.status.message
        text += response.log
    return 0, text


def indexes(directory: Path) -> list[str]:
    """The replicas of alice that have begun."""
    return sorted(file.name for file in (directory / "domains" / "alice").glob("[0-9]"))


async def test_each_replica_has_its_own_ports_directory_and_output_and_knows_all(server: RunningServer) -> None:
    await create(server.stub, job_request("three", task_request("t", "report")))
    status = await ended(server.stub, "three")
    assert status.state == "Succeeded", status.err_msg
    places, defines = [], []
    for replica in range(3):
        code, text = await output(server, status, replica)
        assert code == 0, text
        define, place = text.splitlines()
        defines.append(json.loads(define))
        places.append(place.split())
    assert len({port for peer, own, _ in places for port in (peer, own)}) == 6
    assert len({directory for *_, directory in places}) == 3
    assert [define.pop("selfEndpointIdx") for define in defines] == [0, 1, 2]
    assert defines[0] == defines[1] == defines[2]
    (peer,) = defines[0]["parties"][0]["services"]
    assert peer == {"portName": "peer", "endpoints": [f"127.0.0.1:{peer}" for peer, _, _ in places]}
    told = [end.endpoint for end in status.tasks[0].parties[0].endpoints if end.port_name == "peer"]
    assert told == peer["endpoints"]


async def test_a_replica_that_does_not_exist_is_refused(server: RunningServer) -> None:
    await create(server.stub, job_request("three", task_request("t", "report")))
    status = await ended(server.stub, "three")
    for replica in (-1, 3):
        code, text = await output(server, status, replica)
        assert code != 0
        assert f"replica_idx {replica} is out of range: the party runs 3" in text


async def test_the_party_fails_when_one_replica_does_and_the_others_end(server: RunningServer, tmp_path: Path) -> None:
    await create(server.stub, job_request("fails", task_request("t", "last-fails", ["alice"])))
    status = await ended(server.stub, "fails")
    assert status.err_msg == "Task[t]-Party[alice]: replica 2: exit code 3: no room"
    assert len(server.left_processes()) <= 1  # the shim


async def test_replicas_outlive_the_server_and_succeed_together(server: RunningServer, tmp_path: Path) -> None:
    await create(server.stub, job_request("stays", task_request("t", "wait", ["alice"])))
    await in_state(server.stub, "stays", "Running")
    await eventually(lambda: indexes(tmp_path) == ["0", "1", "2"])
    await server.kill()
    await server.start()
    (tmp_path / "domains" / "alice" / "go").touch()
    status = await ended(server.stub, "stays")
    assert status.state == "Succeeded", status.err_msg
    for replica in range(3):
        assert await output(server, status, replica) == (0, "begun\ngone on\n")


async def test_a_stopped_party_stops_all_replicas_and_a_deleted_job_leaves_nothing(
    server: RunningServer, tmp_path: Path
) -> None:
    await create(server.stub, job_request("goes", task_request("t", "wait", ["alice"])))
    await eventually(lambda: indexes(tmp_path) == ["0", "1", "2"])
    await server.stub.StopJob(pb.StopJobRequest(job_id="goes", reason="enough"))
    assert (await ended(server.stub, "goes")).state == "Failed"
    assert len(server.left_processes()) <= 1
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="goes"))
    await eventually(lambda: not list((server.data_dir / "runs").iterdir()))


async def test_a_task_whose_replicas_can_never_all_run_fails(tmp_path: Path, server: RunningServer) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with running_server(other, app_image_dir=tmp_path / "images", first_port=27_000, last_port=27_010) as small:
        await create(small.stub, job_request("wide", task_request("t", "report")))
        status = await ended(small.stub, "wide")
    assert "the task needs 12 ports, more than there are: 11" in status.err_msg


async def test_replicas_of_which_a_dead_server_had_started_some_are_started_once_each(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    script = f"echo run >> {counts}/$TASK_ID-$KUSCIA_PORT_OWN_NUMBER"
    container = Container("main", command=("sh", "-c", script), ports=(Port("own"),))
    image = AppImage("app", (DeployTemplate("app", (container,), replicas=3),))
    key = PartyKey(1, 0, 1, 0)
    spec = job_spec(tasks=[Task("t", "app", (Party("alice"),))])
    party = PartySpec(key, "t1", spec, image)

    def runtime() -> ProcessRuntime:
        return ProcessRuntime(
            directory=tmp_path / "data",
            domains=tmp_path / "domains",
            path="",
            ports=range(21_000, 21_100),
            stop_grace_seconds=0.1,
            progress_url=lambda _: "",
        )

    first, second = runtime(), runtime()
    await first.open()
    (endpoints,) = await first.allocate([party])
    party = msgspec.structs.replace(party, endpoints=(endpoints,))
    await first.start(party)
    assert (await first.wait(key)).succeeded
    # As if the server had died before it asked for the last one.
    last = tmp_path / "data" / "runs" / f"{key}.2"
    for name in ("stdout.log", "stderr.log", "exit.json"):
        (last / name).unlink()
    try:
        await second.attach(party)
        await second.start(party)
        assert (await second.wait(key)).succeeded
    finally:
        await first.stop_job(1)
        await first.remove(1)
        await first.close()
        await second.close()
    runs = {file.name.rpartition("-")[2]: len(file.read_text().splitlines()) for file in counts.iterdir()}
    assert sorted(runs.values()) == [1, 1, 2]
    assert runs[endpoints[2].address.rpartition(":")[2]] == 2
