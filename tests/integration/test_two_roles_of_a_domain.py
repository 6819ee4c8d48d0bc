"""A task in which one domain has two parties: each one's output can be read, and a container must be one of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from tests.support.images import python_program, write_image
from tests.support.requests import create, ended
from tests.support.server import RunningServer, running_server

SAYS_ITS_PLACE = "import json, os; print('party', json.loads(os.environ['TASK_CLUSTER_DEFINE'])['selfPartyIdx'])"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    write_image(tmp_path / "images", "app", python_program(SAYS_ITS_PLACE))
    async with running_server(tmp_path, runtime="process", app_image_dir=tmp_path / "images") as server:
        parties = [pb.Party(domain_id="alice", role=role) for role in ("client", "server")]
        task = pb.Task(alias="t", task_id="the-task", app_image="app", parties=parties)
        await create(server.stub, pb.CreateJobRequest(job_id="two", initiator="alice", tasks=[task]))
        status = await ended(server.stub, "two")
        assert status.state == "Succeeded", status.err_msg
        yield server


async def read(server: RunningServer, domain: str, container: str = "") -> tuple[int, str]:
    """The code, and what was written or why not."""
    header = common_pb2.RequestHeader(custom_headers={"domain": domain} if domain else {})
    request = log_pb2.QueryLogRequest(header=header, task_id="the-task", container=container)
    answers = [answer async for answer in log_pb2_grpc.LogServiceStub(server.channel).QueryLog(request)]
    return answers[-1].status.code, "".join(answer.log or answer.status.message for answer in answers)


async def test_the_output_of_each_role_can_be_read(server: RunningServer) -> None:
    assert await read(server, "alice/client") == (0, "party 0\n")
    assert await read(server, "alice/server") == (0, "party 1\n")
    assert await read(server, "alice") == await read(server, "") == (0, "party 0\n")
    code, text = await read(server, "alice/nobody")
    assert code == 11100
    assert "alice/client, alice/server" in text


async def test_a_container_that_the_party_has_not_is_refused(server: RunningServer) -> None:
    assert await read(server, "alice/server", "main") == (0, "party 1\n")
    code, text = await read(server, "alice/server", "sidecar")
    assert code == 11100
    assert 'has no container "sidecar"; its party has: "main"' in text
