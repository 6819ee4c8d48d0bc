"""Only a party's present run reports its task's progress; nobody else does, or learns from the answers."""

import asyncio
import http.client
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.contracts import PartyKey
from kusciajob.security.errors import SecurityError
from kusciajob.security.progress import ProgressSecrets, open_progress_secrets
from tests.support.images import python_program, write_image
from tests.support.polling import PATIENCE_SECONDS, eventually, eventually_true
from tests.support.requests import create, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

TELLS_ITS_URL = python_program(
    "import os, pathlib, time\n"
    "file = pathlib.Path(os.environ['KUSCIAJOB_DOMAIN_DIR'], 'urls')\n"
    "with file.open('a') as urls:\n"
    "    print(os.environ['TASK_PROGRESS_URL'], file=urls)\n"
    "time.sleep(600)\n"
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    write_image(tmp_path / "images", "tells", TELLS_ITS_URL)
    async with running_server(tmp_path, app_image_dir=tmp_path / "images", stop_grace_seconds=0) as server:
        yield server


async def url_of(server: RunningServer, domain: str, *, attempt: int = 1) -> str:
    """What a party's program was given as TASK_PROGRESS_URL."""
    file = server.data_dir / "domains" / domain / "urls"

    def told() -> list[str]:
        lines = file.read_text().splitlines() if file.exists() else []
        return lines if len(lines) == attempt else []

    return (await eventually(told))[-1]


async def post(url: str, body: str = '{"progress": 0.42}') -> tuple[int, str]:
    def send() -> tuple[int, str]:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", f"{parts.path}?{parts.query}", body)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(send)


async def progress(server: RunningServer) -> float:
    return round((await status_of(server.stub, "far")).tasks[0].progress, 6)


async def test_progress_is_taken_from_a_party_s_present_run_only(server: RunningServer) -> None:
    tasks = [task_request("t", "tells", ["alice"], task_id="own"), task_request("u", "tells", ["bob"], task_id="other")]
    await create(server.stub, job_request("far", *tasks, max_parallelism=2))
    url, other = await url_of(server, "alice"), await url_of(server, "bob")
    token = parse_qs(urlsplit(url).query)["token"][0]
    assert parse_qs(urlsplit(url).query)["task_id"] == ["own"]

    changed = token[:-1] + ("0" if token[-1] != "0" else "1")
    wrong = {
        "none": url.replace(f"&token={token}", ""),
        "another": url.replace(token, changed),
        "of another task": url.replace(token, parse_qs(urlsplit(other).query)["token"][0]),
        "of nothing": url.replace(token, "x"),
        "of no task": url.replace(token, changed).replace("task_id=own", "task_id=nobodys"),
        "for no task": url.replace("task_id=own", "task_id=nobodys"),
    }
    for body in ('{"progress": 0.9}', "nonsense"):
        answers = {name: await post(forged, body) for name, forged in wrong.items()}
        assert len(set(answers.values())) == 1, answers
        status, text = answers["none"]
        assert status == 403
        assert "TASK_PROGRESS_URL" in text
        assert "own" not in text.replace("its own", "")
        assert not any(changed in answer for _, answer in answers.values())

    assert await post(url) == (200, '{"status":{"code":0,"message":"success"}}')

    async def is_told() -> bool:
        return await progress(server) == 0.42

    await eventually_true(is_told)


async def test_a_secret_outlives_the_server_and_ends_with_its_attempt(server: RunningServer) -> None:
    await create(server.stub, job_request("far", task_request("t", "tells", ["alice"])))
    first = await url_of(server, "alice")
    await server.restart()
    assert (await post(first))[0] == 200

    async def is_told() -> bool:
        await post(first)  # what came before the job was found again is not kept
        return await progress(server) == 0.42

    await eventually_true(is_told)

    await server.stub.SuspendJob(pb.SuspendJobRequest(job_id="far"))
    await in_state(server.stub, "far", "Suspended")
    await server.stub.RestartJob(pb.RestartJobRequest(job_id="far"))
    second = await url_of(server, "alice", attempt=2)
    assert first != second
    refused, _ = await post(first, '{"progress": 1}')
    assert refused == 403
    assert (await post(second))[0] == 200


def test_the_key_is_its_owner_s_alone_and_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    file, key = tmp_path / "progress.key", PartyKey(7, 0, 1, 0)
    token = open_progress_secrets(file).token(key, "task")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert open_progress_secrets(file).verify(token, "task") == key
    file.write_bytes(b"")
    assert open_progress_secrets(file).verify(token, "task") is None
    assert len(file.read_bytes()) == 32
    assert [entry.name for entry in tmp_path.iterdir()] == ["progress.key"]
    file.unlink()
    file.mkdir()
    with pytest.raises(SecurityError, match=r"progress\.key cannot be read: not a regular file: remove it"):
        open_progress_secrets(file)


@pytest.mark.parametrize(
    "token", ["", "1.0.1.0.", "1.0.1.0", f"\u0661.0.1.0.{'0' * 32}", "9" * 5000, f"1.0.1.0.{'0' * 33}"]
)
def test_what_is_no_token_is_of_nobody(token: str) -> None:
    assert ProgressSecrets(b"key").verify(token, "task") is None
    assert ProgressSecrets(b"key").verify(token, "\udcff") is None


def test_secrets_of_one_key_are_told_apart() -> None:
    secrets = ProgressSecrets(b"key")
    runs = [(1, 0, 1, 0), (1, 0, 2, 0), (1, 1, 1, 0), (2, 0, 1, 0), (1, 0, 1, 1)]
    tokens = {secrets.token(PartyKey(*run), task_id) for run in runs for task_id in ("a", "b")}
    assert len(tokens) == 10
    assert all(ProgressSecrets(b"another").verify(token, "a") is None for token in tokens)
