"""A server that keeps its jobs in PostgreSQL: setting store."""

import asyncio
import socket
from pathlib import Path

import asyncpg
import pytest

from kusciajob.config import SettingsError, load
from tests.support.postgres import postgres_server
from tests.support.program import assert_refused, kusciajob
from tests.support.requests import create, ended, job_request, status_of
from tests.support.server import running_server

pytestmark = pytest.mark.postgres


async def test_jobs_outlive_the_server_and_its_data_directory(tmp_path: Path) -> None:
    url = await postgres_server().new_database()
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    async with running_server(one, runtime="simulated", store=url) as server:
        await create(server.stub, job_request("job-1"))
        told = await ended(server.stub, "job-1")
        await server.kill()
        assert not list(server.data_dir.glob("jobs.db*"))
    async with running_server(other, runtime="simulated", store=url) as server:
        assert (await status_of(server.stub, "job-1")) == told


@pytest.mark.parametrize("setting", ["--progress-address", "--grpc-port"])
async def test_a_server_that_cannot_listen_leaves_the_lease_to_others(setting: str, tmp_path: Path) -> None:
    url = await postgres_server().new_database()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = f"127.0.0.1:{port}" if setting == "--progress-address" else port
        arguments = ["--runtime", "simulated", "--http-port", -1, "--data-dir", tmp_path / "data", "--store", url]
        refused = await asyncio.to_thread(kusciajob, "serve", *arguments, setting, address)
    assert refused.returncode == 1
    assert str(port) in refused.stderr
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT leased_until FROM store") is None
    await connection.close()


def test_a_server_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "asyncpg.py").write_text("raise ModuleNotFoundError('No module named asyncpg')\n")
    arguments = ["--data-dir", tmp_path / "data", "--store", "postgresql://localhost/jobs"]
    refused = kusciajob("serve", *arguments, PYTHONPATH=str(tmp_path))
    assert_refused(refused, "store", "pip install 'kusciajob[postgres]'")


def test_a_database_that_does_not_answer_is_told(tmp_path: Path) -> None:
    refused = kusciajob("serve", "--data-dir", tmp_path / "data", "--store", "postgresql://127.0.0.1:1/jobs")
    assert_refused(refused, "cannot open the job store in PostgreSQL")


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("jobs.db", "must be postgresql://"),
        ("mysql://host/jobs", "must be postgresql://"),
        ("postgresql://user:secret@host/jobs", "PGPASSFILE"),
        ("postgresql://host/jobs?password=secret", "PGPASSFILE"),
        ("postgresql://host:secret/jobs", "is no URL"),
    ],
)
def test_a_store_that_cannot_be_one_is_refused(url: str, cause: str) -> None:
    with pytest.raises(SettingsError, match=cause):
        load({"store": url}, environment={})


def test_a_password_is_not_shown_where_it_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"store": "postgresql://user:secret@host/jobs"}, environment={})
    assert "secret" not in str(caught.value)
