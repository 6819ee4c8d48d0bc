"""ValidateJob reads job files as the command line does; what it read can be submitted as it is."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.support.kuscia_documents import KUSCIA_JOB
from tests.support.requests import ended
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASK = "{alias: t, app_image: a, parties: [{domain_id: alice}]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path_factory.mktemp("files"), runtime="simulated") as server:
        yield server


async def post(server: RunningServer, path: str, body: object) -> tuple[int, Any]:
    url = f"http://{server.http_address}{path}"
    data = BytesIO(json.dumps(body).encode())
    async with aiohttp.ClientSession() as session, session.post(url, data=data) as answer:
        return answer.status, json.loads(await answer.text())


async def problems(server: RunningServer, file: str) -> list[tuple[str, int, int]]:
    status, told = await post(server, "/v1/jobs:validate", {"file": file})
    assert status == 200, told
    assert all(problem["description"] for problem in told["problems"])
    return [(problem["field"], problem["line"], problem["column"]) for problem in told["problems"]]


async def test_what_was_read_of_a_good_file_can_be_submitted(server: RunningServer) -> None:
    status, told = await post(server, "/v1/jobs:validate", {"file": KUSCIA_JOB, "request": {"labels": {"a": "b"}}})
    assert (status, told["problems"]) == (200, [])
    assert [wave["aliases"] for wave in told["waves"]] == [["job-psi"], ["job-split"]]
    status, created = await post(server, "/v1/jobs", told["request"])
    assert (status, created["job"]["job_id"]) == (200, "job-best-effort-linear")
    assert created["job"]["labels"] == {"a": "b"}


async def test_every_problem_has_its_place_in_the_file(server: RunningServer) -> None:
    assert await problems(server, f"initiator: alice\njob_id: A\ntasks:\n- {TASK}\n- {TASK}\n") == [
        ("job_id", 2, 1),
        ("tasks[1].alias", 5, 4),
    ]
    assert await problems(server, "job_id: [\n  }") == [("", 2, 3)]
    assert await problems(server, '{"job_id": 1,') == [("", 1, 14)]
    assert await problems(server, "job_id: a\nzzz: 1\ntasks: 2") == [("zzz", 2, 1), ("tasks", 3, 1)]
    assert await problems(server, "- 1") == [("", 0, 0)]


async def test_what_has_no_effect_is_told(server: RunningServer) -> None:
    file = (
        "apiVersion: kuscia.secretflow/v1alpha1\nkind: KusciaJob\nmetadata: {name: j}\nextra: 1\n"
        f"spec: {{initiator: alice, tasks: [{TASK}]}}"
    )
    _, told = await post(server, "/v1/jobs:validate", {"file": file})
    assert [(each["field"], each["line"]) for each in told["ignored"]] == [("extra", 4)]


async def test_a_file_has_a_limit_and_a_job_beside_it_is_refused(server: RunningServer) -> None:
    status, told = await post(server, "/v1/jobs:validate", {"file": "#" * (4 * 1024 * 1024 + 1)})
    assert status == 400
    assert "file has 4,194,305 characters: at most 4,194,304 are possible" in told["error"]["message"]
    status, told = await post(server, "/v1/jobs:validate", {"file": "a: 1", "request": {"job": {"job_id": "a"}}})
    assert status == 400
    assert "file is given, and request.job too" in told["error"]["message"]
    many = '{"tasks": [' + ", ".join(["{}"] * 600_000) + "]}"
    assert await problems(server, many) == [("", 0, 0)]


async def test_a_job_tells_what_can_be_asked_of_it_and_the_audit_why_it_was_deleted(server: RunningServer) -> None:
    task = {
        "alias": "t",
        "app_image": "a",
        "parties": [{"domain_id": "alice"}],
        "task_input_config": '{"seconds": 600}',
    }
    asked = {"job": {"job_id": "told", "initiator": "alice", "tasks": [task]}}
    _, created = await post(server, "/v1/jobs", asked)
    assert created["job"]["operations"][-1] == "Delete"
    await post(server, "/api/v1/job/stop", {"job_id": "told", "reason": "enough"})
    await ended(server.stub, "told")
    url = f"http://{server.http_address}"
    body = {"job_id": "told", "header": {"custom_headers": {"reason": "no longer needed"}}}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/v1/jobs/told") as answer:
            assert (await answer.json())["job"]["summary"]["operations"] == ["Cancel", "Restart", "Delete"]
        await post(server, "/api/v1/job/delete", body)
        async with session.get(f"{url}/v1/audit?job_id=told&page_size=1") as answer:
            (entry,) = (await answer.json())["entries"]
    assert (entry["method"], entry["reason"]) == ("DeleteJob", "no longer needed")


async def test_the_server_tells_how_much_of_its_limits_is_taken(server: RunningServer) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://{server.http_address}/v1/server") as answer:
        told = await answer.json()
    assert {"job_files", "operations", "usage"} <= set(told["capabilities"])
    assert told["used"].keys() <= told["limits"].keys()
    assert int(told["used"]["max_connections"]) >= 1
    assert told["used"]["max_jobs"] == told["load"]["jobs"]
    assert float(told["load"]["commit_median"].removesuffix("s")) <= float(told["load"]["commit_p99"].removesuffix("s"))
    assert int(told["load"]["watch_streams"]) >= 1
