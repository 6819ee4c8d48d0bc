"""Bad requests of every kind through gRPC: the code, the text, and a store in which nothing has changed.

The exact texts of all variations are in tests/unit/test_job.py; here every rule is met once on its whole way.
"""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.images import write_image
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer, running_server

ALICE = pb.Party(domain_id="alice")


def one(**fields: Any) -> pb.CreateJobRequest:
    """A job of one task, valid but for these fields of the task."""
    return job_request("new", pb.Task(**{"alias": "t", "app_image": "true", "parties": [ALICE], **fields}))


def party(**fields: Any) -> pb.CreateJobRequest:
    return one(parties=[pb.Party(**{"domain_id": "alice", **fields})])


def several(**dependencies: list[str]) -> pb.CreateJobRequest:
    tasks = [task_request(alias, "true", ["alice"], dependencies=names) for alias, names in dependencies.items()]
    return job_request("new", *tasks)


def changed(**fields: Any) -> pb.CreateJobRequest:
    request = one()
    request.MergeFrom(pb.CreateJobRequest(**fields))
    return request


REFUSED: dict[str, tuple[pb.CreateJobRequest, int, str]] = {
    "no job_id": (job_request("", task_request("t", "true")), 11100, "job_id is required: it must be a DNS subdomain"),
    "job_id": (changed(job_id="Not_A_Name"), 11100, 'job_id "Not_A_Name" is not valid: it must be a DNS subdomain'),
    "long job_id": (changed(job_id="x" * 254), 11100, "(254 characters) is not valid"),
    "no initiator": (pb.CreateJobRequest(job_id="new", tasks=one().tasks), 11100, "initiator is required"),
    "parallelism": (changed(max_parallelism=129), 11100, "max_parallelism 129 is out of range: 1 to 128"),
    "no tasks": (pb.CreateJobRequest(job_id="new", initiator="alice"), 11100, "tasks has 0 entries: 1 to 128"),
    "129 tasks": (several(**{f"t{number}": [] for number in range(129)}), 11100, "tasks has 129 entries"),
    "no alias": (one(alias=""), 11100, "tasks[0]: alias is required"),
    "alias twice": (job_request("new", *one().tasks, *one().tasks), 11100, 'alias "t" is used twice'),
    "no app_image": (one(app_image=""), 11100, 'tasks[0]: task "t": app_image is required'),
    "unknown app_image": (one(app_image="nowhere"), 11100, '"nowhere"'),
    "no party": (one(parties=[]), 11100, 'tasks[0]: task "t": parties is empty'),
    "no domain_id": (one(parties=[pb.Party(role="r")]), 11100, "tasks[0]: parties[0]: domain_id is required"),
    "party twice": (
        one(parties=[ALICE, pb.Party(domain_id="alice", resources=pb.JobResource(cpu="1"))]),
        11100,
        'party "alice" with role "" is listed twice with different values',
    ),
    "long alias": (one(alias="x" * 254), 11100, "(254 characters) is too long: at most 253"),
    "long app_image": (one(app_image="x" * 254), 11100, "tasks[0]: app_image"),
    "long domain": (one(parties=[pb.Party(domain_id="d" * 64)]), 11100, "parties[0]: domain_id"),
    "domain with a direction mark": (one(parties=[pb.Party(domain_id="a\u202eb")]), 11100, "'a\\u202eb' is not valid"),
    "129 parties": (
        one(parties=[pb.Party(domain_id=f"d{number}") for number in range(129)]),
        11100,
        "tasks[0]: parties has 129 entries: at most 128",
    ),
    "129 custom_fields": (
        changed(custom_fields={f"k{number}": "" for number in range(129)}),
        11100,
        "custom_fields has 129 entries: at most 128",
    ),
    "long quantity": (party(resources=pb.JobResource(cpu="1" * 254)), 11100, "resources.cpu"),
    "129 bandwidth limits": (
        party(bandwidth_limits=[pb.BandwidthLimit(destination_id="bob", limit_kbps=1)] * 129),
        11100,
        "bandwidth_limits has 129 entries: at most 128",
    ),
    "long destination": (
        party(bandwidth_limits=[pb.BandwidthLimit(destination_id="d" * 254, limit_kbps=1)]),
        11100,
        "bandwidth_limits[0]: destination_id",
    ),
    "unknown dependency": (several(a=["b"]), 11100, 'task "a" depends on "b", which is no alias of this job'),
    "itself": (several(a=["a"]), 11100, 'task "a" depends on itself'),
    "cycle": (several(a=["c"], b=["a"], c=["b"]), 11100, "dependencies form a cycle: a -> c -> b -> a"),
    "task_id": (one(task_id="Bad_Id"), 11100, 'task_id "Bad_Id" is not valid: it must be a DNS subdomain name'),
    "task_id twice": (
        job_request("new", *one(task_id="x").tasks, task_request("u", "true", task_id="x")),
        11100,
        'task_id "x" is used twice',
    ),
    "task_id of another job": (one(task_id="taken"), 11201, '"taken"'),
    "quantity": (party(resources=pb.JobResource(memory="much")), 11100, 'resources.memory "much" is not a Kubernetes'),
    "bandwidth": (
        party(bandwidth_limits=[pb.BandwidthLimit(destination_id="bob")]),
        11100,
        "parties[0]: bandwidth_limits[0]: limit_kbps 0",
    ),
    "no destination": (party(bandwidth_limits=[pb.BandwidthLimit(limit_kbps=1)]), 11100, "destination_id is required"),
    "custom key": (changed(custom_fields={"k" * 64: "v"}), 11100, "has 64 characters: at most 63"),
    "custom value": (changed(custom_fields={"k": "v" * 64}), 11100, "has 64 characters: at most 63"),
    "other spec": (job_request("present", *one().tasks), 11201, 'job "present" already exists with another spec'),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    directory = tmp_path_factory.mktemp("refusals")
    write_image(directory / "images", "true", ["true"])
    async with running_server(directory, app_image_dir=directory / "images") as server:
        await create(server.stub, job_request("present", task_request("t", "true", ["alice"], task_id="taken")))
        await ended(server.stub, "present")
        yield server


def stored(data_dir: Path) -> list[tuple[Any, ...]]:
    """Everything in the store."""
    database = sqlite3.connect(f"file:{data_dir / 'jobs.db'}?mode=ro", uri=True)
    try:
        tables = ("job", "spec", "task", "log")
        return [row for table in tables for row in database.execute(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608
    finally:
        database.close()


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_bad_request_is_refused_with_its_reason_and_stores_nothing(server: RunningServer, case: str) -> None:
    request, code, text = REFUSED[case]
    before = stored(server.data_dir)
    response = await server.stub.CreateJob(request)
    assert response.status.code == code
    assert text in response.status.message
    assert not response.HasField("data")
    assert stored(server.data_dir) == before
