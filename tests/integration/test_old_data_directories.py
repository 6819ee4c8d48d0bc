"""A server of today opens the data directory of an earlier version: all reads as it did, and new jobs run."""

import contextlib
import http.client
import json
import sqlite3
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2, log_pb2_grpc
from kusciajob.store import packing
from kusciajob.store.sqlite import database
from kusciajob.store.sqlite.store import SqliteStore
from tests.support.damage import doctor
from tests.support.earlier import DATA_DIRECTORIES, has_all, unpack_data_directory
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

KEPT_FOREVER = {"job_retention_days": 0, "log_retention_hours": 0}
"""Else what is read here would be too old one day."""
UNFINISHED = ("running", "pending")
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the certificates are valid for ten years only


@pytest.fixture(params=DATA_DIRECTORIES)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[RunningServer, dict[str, Any]]]:
    """A server on such a directory, and what the server of that version answered."""
    answers = unpack_data_directory(request.param, tmp_path)
    async with running_server(tmp_path, protocol="notls", **KEPT_FOREVER) as server:
        yield server, answers


async def test_every_job_reads_as_it_did_and_what_ran_is_lost(opened: tuple[RunningServer, dict[str, Any]]) -> None:
    server, answers = opened
    for job_id, told in answers["jobs"].items():
        if job_id in UNFINISHED:
            continue
        response = await server.stub.QueryJob(pb.QueryJobRequest(job_id=job_id))
        _leave_out_what_is_told_since(response.data.status, told["status"])
        assert response.data == json_format.ParseDict(told, pb.QueryJobResponseData()), job_id

    lost = await ended(server.stub, "running")
    assert lost.state == "Failed"
    assert "lost: its process was found dead" in lost.err_msg
    assert (await ended(server.stub, "pending")).state == "Succeeded"


async def test_watchers_are_told_of_all_jobs(opened: tuple[RunningServer, dict[str, Any]]) -> None:
    server, answers = opened
    for job_id in UNFINISHED:
        await ended(server.stub, job_id)
    call = server.stub.WatchJob(pb.WatchJobRequest())
    seen: dict[str, pb.JobStatusDetail] = {}
    while len(seen) < len(answers["jobs"]) + 1:
        event: pb.WatchJobEventResponse = await call.read()  # type: ignore[assignment]
        assert event.type == (pb.ERROR if event.object.job_id == "damaged" else pb.ADDED)
        seen[event.object.job_id] = event.object.status
    call.cancel()

    assert seen.pop("damaged").state == "Unknown"
    assert set(seen) == set(answers["jobs"])
    for job_id in set(seen) - set(UNFINISHED):
        told = answers["jobs"][job_id]["status"]
        _leave_out_what_is_told_since(seen[job_id], told)
        assert seen[job_id] == json_format.ParseDict(told, pb.JobStatusDetail()), job_id


async def test_every_output_reads_as_it_did(opened: tuple[RunningServer, dict[str, Any]]) -> None:
    server, answers = opened
    for place, told in answers["logs"].items():
        if not place.startswith(UNFINISHED):
            assert await _log_of(server, place) == told, place


async def test_a_damaged_row_is_set_aside_by_the_doctor_and_nothing_else_is_wrong(
    opened: tuple[RunningServer, dict[str, Any]],
) -> None:
    server, _ = opened
    for job_id in UNFINISHED:
        await ended(server.stub, job_id)
    await server.stop()
    file = server.data_dir / "jobs.db"

    is_unsound, text = doctor(file)
    assert is_unsound
    (problem,) = [line for line in text.splitlines() if line.startswith("PROBLEM") and "MiB free" not in line]
    assert '"damaged"' in problem or "job damaged" in problem

    doctor(file, "--repair")
    await server.start()
    response = await server.stub.QueryJob(pb.QueryJobRequest(job_id="damaged"))
    assert response.status.code == 11202


async def test_new_jobs_run_and_old_ones_take_commands(opened: tuple[RunningServer, dict[str, Any]]) -> None:
    server, _ = opened
    await create(server.stub, job_request("new", task_request("only", "good", task_id="new-only")))
    assert (await ended(server.stub, "new")).state == "Succeeded"
    assert await _log_of(server, "new-only alice") == 'alice\n{"task_id": "new-only"}ünïcode\n'

    await server.stub.RestartJob(pb.RestartJobRequest(job_id="suspended"))
    await in_state(server.stub, "suspended", "Running")
    await server.stub.StopJob(pb.StopJobRequest(job_id="suspended"))
    assert (await ended(server.stub, "suspended")).state == "Failed"
    accept = pb.ApproveJobRequest(job_id="awaiting", result=pb.APPROVE_RESULT_ACCEPT)
    assert (await server.stub.ApproveJob(accept)).status.code == 0
    assert (await ended(server.stub, "awaiting")).state == "Succeeded"
    for job_id in ("succeeded", "large"):
        assert (await server.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id))).status.code == 0


@pytest.mark.parametrize("commit", DATA_DIRECTORIES)
async def test_every_event_reads_as_it_did(commit: str, tmp_path: Path) -> None:
    unpack_data_directory(commit, tmp_path)
    file = tmp_path / "data" / "jobs.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT revision, type, job_id, number, status FROM log ORDER BY revision").fetchall()
    assert {kind for _, kind, *_ in rows} == {"ADDED", "MODIFIED", "DELETED"}

    store = await SqliteStore.open(file)
    try:
        events = await store.read_log(0, len(rows) + 1)
    finally:
        await store.close()

    assert len(events) == len(rows)
    for event, (revision, kind, job_id, number, status) in zip(events, rows, strict=True):
        job = event.job
        assert (event.revision, event.type, job.job_id, job.number) == (revision, kind, job_id, number)
        assert has_all(json.loads(msgspec.json.encode(job.status)), json.loads(packing.plain(status))), revision
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(database.migrations()),)


@pytest.mark.parametrize("commit", DATA_DIRECTORIES)
async def test_an_end_that_a_newer_program_has_recorded_is_told_as_that_and_kept(commit: str, tmp_path: Path) -> None:
    unpack_data_directory(commit, tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "jobs.db")) as connection:
        (number,) = connection.execute("SELECT number FROM job WHERE job_id = 'running'").fetchone()
    ends = [tmp_path / "data" / "runs" / f"{number}/0.1/{party}" / "exit.json" for party in (0, 1)]
    for end in ends:
        end.write_text('{"version": 99}')

    async with running_server(tmp_path, protocol="notls", **KEPT_FOREVER) as server:
        status = await ended(server.stub, "running")

        assert status.state == "Failed"
        assert "its exit.json has version 99, this program knows versions up to" in status.err_msg
        assert [end.read_text() for end in ends] == ['{"version": 99}'] * 2


@pytest.mark.parametrize("commit", DATA_DIRECTORIES)
async def test_its_certificates_and_tokens_are_good_still(commit: str, tmp_path: Path) -> None:
    unpack_data_directory(commit, tmp_path)
    certs = tmp_path / "data" / "certs"
    async with running_server(tmp_path, protocol="tls", max_token_delay_seconds=0, **KEPT_FOREVER) as server:
        master, alice = ((certs / name).read_text().strip() for name in ("token", "domains/alice.token"))
        assert [_code(server, certs, token) for token in (master, alice, "another")] == [0, 0, None]


def _leave_out_what_is_told_since(status: pb.JobStatusDetail, told: dict[str, Any]) -> None:
    """Of a job that needed no approval, early versions did not say that all have accepted it. It is not stored."""
    if not told["approve_status_list"]:
        assert all(each.state == "JobAccepted" for each in status.approve_status_list)
        del status.approve_status_list[:]


async def _log_of(server: RunningServer, place: str) -> str:
    task_id, domain = place.split()
    header = common_pb2.RequestHeader(custom_headers={"domain": domain})
    stub = log_pb2_grpc.LogServiceStub(server.channel)
    call = stub.QueryLog(log_pb2.QueryLogRequest(task_id=task_id, local=True, header=header))
    return "".join([response.log async for response in call])


def _code(server: RunningServer, certs: Path, token: str) -> int | None:
    """That of a query over HTTP; None where the token is refused."""
    context = ssl.create_default_context(cafile=certs / "ca.crt")
    context.verify_flags |= NO_CHECK_TIME
    connection = http.client.HTTPSConnection(server.http_address, context=context)
    try:
        body = json.dumps({"job_id": "succeeded"})
        connection.request("POST", "/api/v1/job/query", body, {"Content-Type": "application/json", "Token": token})
        response = connection.getresponse()
        return json.loads(response.read())["status"]["code"] if response.status == 200 else None
    finally:
        connection.close()
