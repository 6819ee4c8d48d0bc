"""Other programs look into the database of a running server, as operators do with sqlite3."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requests import create, job_request, status_of, task_request
from tests.support.server import running_server

pytestmark = pytest.mark.hostile

LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM job").fetchone())
connection.close()
"""


async def test_a_program_that_opens_and_closes_the_database_takes_nothing_from_it(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await create(server.stub, job_request("before", task_request("t", "x")))
        database = server.data_dir / "jobs.db"
        subprocess.run([sys.executable, "-c", LOOK, database], check=True)
        assert database.with_name("jobs.db-wal").exists(), "whoever closed it took itself for the last one"
        await create(server.stub, job_request("after", task_request("t", "x")))
        await server.kill()
        await server.start()
        assert await status_of(server.stub, "before")
        assert await status_of(server.stub, "after")
