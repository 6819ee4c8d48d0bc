"""Questions about jobs, asked of a real server with certificates and tokens: over gRPC, and over HTTP the same."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2, job_pb2_grpc
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2_grpc
from kusciajob.wire.status import Code
from tests.support.callers import Caller
from tests.support.images import shell_image, write_images
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.requests import job_request, task_request
from tests.support.rich import refusal_in, refusal_of
from tests.support.secured import Place, secured_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PORT = {"name": "spu", "protocol": "GRPC", "scope": "Cluster"}


class Client:
    """A caller of both edges, by its token."""

    def __init__(self, place: Place, caller: Caller) -> None:
        self._place = place
        self._caller = caller
        self._channel = caller.channel(place.server.address)

    async def close(self) -> None:
        await self._channel.close(None)

    async def ask(self, name: str, request: Message) -> Any:
        stub = jobs_pb2_grpc.JobsServiceStub(self._channel)
        return await getattr(stub, name)(request, metadata=self._caller.metadata, timeout=PATIENCE_SECONDS)

    async def ask_kuscia(self, name: str, request: Message) -> Any:
        stub = job_pb2_grpc.JobServiceStub(self._channel)
        return await getattr(stub, name)(request, metadata=self._caller.metadata, timeout=PATIENCE_SECONDS)

    async def fetch(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        url = f"https://{self._place.http_address}{path}"
        headers = {"Token": self._caller.token or ""}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, json=body, ssl=self._caller.ssl_context) as answer,
        ):
            return answer.status, await answer.text()

    async def ended(self, job_id: str) -> pb.Job:
        async def has_ended() -> pb.Job | None:
            job: pb.Job = (await self.ask("GetJob", pb.GetJobRequest(job_id=job_id))).job
            return job if job.summary.HasField("end_time") else None

        job = await eventually_true(has_ended)
        assert job is not None
        return job


class World:
    """A server that runs programs, and its callers."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.master = Client(place, place.master)
        self.alice, self.bob, self.carol = (Client(place, place.domain(name)) for name in ("alice", "bob", "carol"))

    async def close(self) -> None:
        for client in (self.master, self.alice, self.bob, self.carol):
            await client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("questions")
    documents = [
        shell_image("true", 'test "$SECRET" && exit 0', {"c.json": "{{.TASK_INPUT_CONFIG}}"}, role="host"),
        shell_image("fails", "echo the words of $KUSCIA_DOMAIN_ID >&2; exit 3"),
        shell_image("dies", "kill -9 $$$$"),
        shell_image("waits", "sleep 600"),
        shell_image("strict", "true", {"c.json": "{{.NO_SUCH_NAME}}"}),
    ]
    container = documents[0]["spec"]["deployTemplates"][0]["spec"]["containers"][0]
    container |= {
        "ports": [_PORT],
        "env": [{"name": "SECRET", "value": "hunter2"}],
        "args": ["$(SECRET)", "$(TASK_ID)"],
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
    }
    write_images(directory / "images", documents)
    async with secured_server(
        directory, runtime="process", app_image_dir=directory / "images", strict_templates=True
    ) as place:
        world = World(place)
        try:
            yield world
        finally:
            await world.close()


def submission(*tasks: job_pb2.Task, job_id: str, **fields: Any) -> pb.SubmitJobRequest:
    return pb.SubmitJobRequest(job=job_request(job_id, *tasks), **fields)


async def test_get_job_tells_each_attempt_with_its_exit_codes_and_signals(world: World) -> None:
    # One after the other: of two parties of a task the first that fails would stop the other.
    first, second = task_request("b", "fails", ["bob"]), task_request("a", "fails", ["alice"])
    first.tolerable = True
    request = submission(first, second, job_id="fails")
    request.job.max_parallelism = 1
    request.task_policies["a"].retry.max_attempts = 2
    request.task_policies["a"].retry.first_backoff.nanos = 1_000_000
    await world.alice.ask("SubmitJob", request)
    job = await world.alice.ended("fails")
    task = job.tasks[1]
    assert [(attempt.number, attempt.state) for attempt in task.attempts] == [(1, "Failed"), (2, "Failed")]
    assert task.attempt == 2
    own = task.attempts[0].parties[0]
    assert (own.domain_id, own.exit_code, own.signal, own.HasField("end_time")) == ("alice", 3, "", True)
    assert "the words of alice" in own.err_msg
    assert "the words of bob" not in str(job)
    assert "the words of bob" in str(await world.master.ended("fails"))
    await world.alice.ask("SubmitJob", submission(task_request("a", "dies", ["alice"]), job_id="dies"))
    (party,) = (await world.master.ended("dies")).tasks[0].attempts[0].parties
    assert (party.exit_code, party.signal) == (137, "SIGKILL")


async def test_an_answer_over_http_is_that_over_grpc(world: World) -> None:
    await world.alice.ask("SubmitJob", submission(task_request("a", "true", ["alice"]), job_id="same"))
    await world.master.ended("same")
    for client, name, message, path in (
        (world.alice, "GetJob", pb.GetJobRequest(job_id="same"), "/v1/jobs/same"),
        (world.master, "ListJobHistory", pb.ListJobHistoryRequest(job_id="same"), "/v1/jobs/same/history"),
        (
            world.alice,
            "ListJobs",
            pb.ListJobsRequest(states=["Succeeded"], job_id_prefix="same", page_size=3),
            "/v1/jobs?states=Succeeded&job_id_prefix=same&page_size=3",
        ),
    ):
        answer = await client.ask(name, message)
        status, text = await client.fetch("GET", path)
        assert status == 200, text
        told = json.loads(text)
        if isinstance(answer, pb.ListJobsResponse):  # other jobs may have moved on in between
            told["revision"] = answer.revision
        assert ParseDict(told, type(answer)()) == answer


async def test_a_job_that_waits_says_why_in_one_sentence(world: World) -> None:
    await world.alice.ask(
        "SubmitJob",
        submission(
            task_request("a", "waits", ["alice"]), task_request("b", "waits", ["alice"], dependencies=["a"]), job_id="w"
        ),
    )

    async def runs() -> pb.Job | None:
        job: pb.Job = (await world.alice.ask("GetJob", pb.GetJobRequest(job_id="w"))).job
        return job if job.tasks[0].state == "Running" else None

    job = await eventually_true(runs)
    assert job is not None
    assert job.waiting == ""
    assert job.tasks[1].err_msg == 'waiting for "a"'
    await world.alice.ask_kuscia("SuspendJob", job_pb2.SuspendJobRequest(job_id="w", reason="lunch"))

    async def is_suspended() -> pb.Job | None:
        job: pb.Job = (await world.alice.ask("GetJob", pb.GetJobRequest(job_id="w"))).job
        return job if job.summary.state == "Suspended" else None

    job = await eventually_true(is_suspended)
    assert job is not None
    assert (job.waiting, job.stage, job.stage_caller, job.stage_reason) == (
        "it is suspended and waits for a restart",
        "Suspend",
        "alice",
        "lunch",
    )


async def test_a_dry_run_tells_all_problems_and_stores_nothing(world: World) -> None:
    await world.alice.ask("SubmitJob", submission(task_request("a", "true", task_id="taken"), job_id="there"))
    request = submission(
        task_request("a", "no-such-image", dependencies=["b"]),
        job_pb2.Task(alias="b", app_image="true", parties=[job_pb2.Party(domain_id="bob", role="guest")]),
        task_request("c", "strict", ["alice"]),
        task_request("d", "true", dependencies=["nobody"], task_id="taken"),
        job_id="there",
    )
    request.task_policies["z"].run_timeout.seconds = 5
    answer = await world.alice.ask("ValidateJob", pb.ValidateJobRequest(request=request))
    told = {problem.field: problem.description for problem in answer.problems}
    assert list(told) == [
        "tasks[3].dependencies[0]",
        'task_policies["z"]',
        "tasks[0].app_image",
        "job_id",
        "tasks[3].task_id",
        "tasks[1].parties[0].role",
    ]
    assert told["job_id"].startswith('job "there" already exists with another specification')
    # What cannot be rendered is found once there is a job to render.
    good = submission(task_request("c", "strict", ["alice"]), job_id="new")
    (problem,) = (await world.alice.ask("ValidateJob", pb.ValidateJobRequest(request=good))).problems
    assert problem.field == "tasks[0].parties[0]"
    assert "NO_SUCH_NAME" in problem.description
    status, _ = await world.alice.fetch("GET", "/v1/jobs/new")
    assert status == 403
    of_bob = submission(task_request("c", "strict", ["alice"]), job_id="new")
    (problem,) = (await world.bob.ask("ValidateJob", pb.ValidateJobRequest(request=of_bob))).problems
    assert problem.field == "initiator"


async def test_a_dry_run_shows_how_a_good_job_would_run_without_secrets(world: World) -> None:
    request = submission(
        task_request("a", "true"),
        task_request("b", "true", dependencies=["a"], task_id="mine"),
        task_request("c", "true", dependencies=["a"]),
        task_request("d", "true", dependencies=["b", "c"]),
        job_id="preview",
    )
    request.job.tasks[1].parties[0].resources.cpu = "500m"
    answer = await world.alice.ask("ValidateJob", pb.ValidateJobRequest(request=request))
    assert list(answer.problems) == []
    assert [list(wave.aliases) for wave in answer.waves] == [["a"], ["b", "c"], ["d"]]
    assert answer.tasks[1].task_id == "mine"
    assert answer.tasks[0].task_id.startswith("preview-")
    party = answer.tasks[1].parties[0]
    (container,) = party.containers
    assert (party.domain_id, party.deploy_template, party.replicas) == ("alice", "true", 1)
    assert (container.name, list(container.command)[:2], list(container.args)) == (
        "main",
        ["sh", "-c"],
        ["$(SECRET)", "$(TASK_ID)"],
    )
    assert {"SECRET", "TASK_ID", "TASK_CLUSTER_DEFINE", "KUSCIA_PORT_SPU_NUMBER", "PATH"} <= set(
        container.environment_names
    )
    assert "/w/c.json" in container.config_paths
    assert (container.working_dir, container.cpu_limit, container.memory_limit) == ("/w", "500m", "1Gi")
    assert "hunter2" not in str(answer)
    status, text = await world.alice.fetch(
        "POST",
        "/v1/jobs:validate",
        {"request": {"job": {"job_id": "preview", "initiator": "alice", "tasks": [{"alias": "a"}]}}},
    )
    assert status == 200
    assert [problem["field"] for problem in json.loads(text)["problems"]] == ["tasks[0].app_image", "tasks[0].parties"]


async def test_submit_job_is_idempotent_and_refuses_with_all_problems(world: World) -> None:
    request = submission(task_request("a", "true"), job_id="once", labels={"team": "x" * 4000})
    first = (await world.alice.ask("SubmitJob", request)).job
    again = (await world.alice.ask("SubmitJob", request)).job
    assert (first.job_id, first.number, dict(first.labels)) == ("once", again.number, {"team": "x" * 4000})
    request.labels["team"] = "y"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.alice.ask("SubmitJob", request)
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.kuscia_code) == ("ALREADY_EXISTS", Code.CREATE_FAILED)
    bad: dict[str, Any] = {
        "job": {"job_id": "x", "initiator": "alice", "tasks": [{"alias": "a", "parties": [{}]}]},
        "task_policies": {"b": {"retry": {"max_attempts": 1}}},
        "ttl": "-1s",
    }
    status, text = await world.alice.fetch("POST", "/v1/jobs", bad)
    assert status == 400
    assert [field for field, _ in refusal_in(text, status).violations] == [
        "tasks[0].parties[0].domain_id",
        "tasks[0].app_image",
        'task_policies["b"]',
        'task_policies["b"].retry.max_attempts',
        "ttl",
    ]


async def test_a_domain_gets_one_error_for_unknown_jobs_and_for_jobs_of_others(world: World) -> None:
    await world.alice.ask("SubmitJob", submission(task_request("a", "true"), job_id="hidden"))
    for path in ("", "/history"):
        answers = [await world.carol.fetch("GET", f"/v1/jobs/{job_id}{path}") for job_id in ("hidden", "absent")]
        assert answers[0][0] == 403
        assert answers[0] == (answers[1][0], answers[1][1].replace("absent", "hidden"))
    assert (await world.master.fetch("GET", "/v1/jobs/absent"))[0] == 404


async def test_every_refused_change_is_in_the_audit_before_it_is_answered(world: World) -> None:
    await world.alice.ask("SubmitJob", submission(task_request("a", "true"), job_id="audited"))
    await world.carol.ask_kuscia("CreateJob", job_request("audited"))
    await world.carol.ask_kuscia("StopJob", job_pb2.StopJobRequest(job_id="audited", reason="mine"))
    await world.carol.fetch("POST", "/api/v1/job/delete", {"job_id": "audited"})
    with pytest.raises(grpc.aio.AioRpcError):
        await world.carol.ask("SubmitJob", submission(task_request("a", "true"), job_id="audited"))
    await world.carol.fetch("POST", "/v1/jobs", {"job": {"job_id": "audited"}})
    request = pb.ListAuditEntriesRequest(job_id="audited", page_size=100)
    entries = list((await world.master.ask("ListAuditEntries", request)).entries)
    assert [(entry.caller, entry.method, entry.code) for entry in reversed(entries)] == [
        ("alice", "SubmitJob", 0),
        ("carol", "CreateJob", Code.NOT_ALLOWED),
        ("carol", "StopJob", Code.NOT_ALLOWED),
        ("carol", "DeleteJob", Code.NOT_ALLOWED),
        ("carol", "SubmitJob", Code.NOT_ALLOWED),
        ("carol", "SubmitJob", Code.INVALID_REQUEST),
    ]
    assert all(entry.peer and entry.HasField("time") for entry in entries)
    assert "may not act on" in entries[3].reason
    own = (await world.carol.ask("ListAuditEntries", request)).entries
    assert list(own) == entries[:5]
    status, text = await world.carol.fetch("GET", "/v1/audit?job_id=audited&page_size=2")
    assert status == 200
    assert [entry["method"] for entry in json.loads(text)["entries"]] == ["SubmitJob", "SubmitJob"]
    assert (await world.carol.fetch("GET", "/v1/audit?caller=alice"))[0] == 403
