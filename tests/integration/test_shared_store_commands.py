"""`kusciajob migrate` and `kusciajob doctor --store`: the database that servers share."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from kusciajob.store.postgres.lease import PostgresLeases
from kusciajob.store.postgres.store import PostgresStore
from tests.support.builders import new_job
from tests.support.program import assert_refused, kusciajob
from tests.support.server import running_server

pytestmark = pytest.mark.postgres


async def told(*arguments: object) -> str:
    done = await asyncio.to_thread(kusciajob, *arguments)
    assert done.returncode == 0, done
    return str(done.stdout)


async def test_a_server_that_may_not_migrate_says_what_to_do_and_starts_afterwards(tmp_path: Path, url: str) -> None:
    arguments = ["--data-dir", tmp_path / "data", "--store", url, "--no-migrate-at-start"]
    assert_refused(await asyncio.to_thread(kusciajob, "serve", *arguments), "schema 0", "run `kusciajob migrate`")
    assert await told("migrate", "--store", url) == "schema 1: it had schema 0\n"
    assert await told("migrate", "--store", url) == "schema 1: nothing to do\n"
    async with running_server(tmp_path, runtime="simulated", store=url, migrate_at_start=False):
        assert "schedules" in await told("doctor", "--store", url)


async def test_the_doctor_looks_at_lease_log_and_every_job(url: str) -> None:
    store = await PostgresStore.open(url)
    for number in range(3):
        await store.create(new_job(f"job-{number}"))
    found = await told("doctor", "--store", url)
    assert "log: 3 events without a gap, the newest revision is 3" in found
    assert "jobs: 3, 3 of them unfinished" in found
    assert "lease: no server schedules" in found
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM log WHERE revision = 2")
    await connection.execute("UPDATE job SET status = 'x' WHERE number = 3")
    await connection.close()
    done = await asyncio.to_thread(kusciajob, "doctor", "--store", url)
    assert done.returncode == 1
    assert "2 events from 1 to 3 have gaps" in done.stdout
    assert "job job-2 (number 3) is damaged" in done.stdout
    await store.close()


async def test_a_machine_that_is_gone_is_given_up_only_while_nobody_schedules(url: str) -> None:
    store = await PostgresStore.open(url)
    lease = await PostgresLeases(store, server="one", home="there").take()
    assert lease is not None
    refused = await asyncio.to_thread(kusciajob, "migrate", "--store", url, "--forget-home")
    assert_refused(refused, "a server schedules now")
    await lease.release()
    await told("migrate", "--store", url, "--forget-home")
    lease = await PostgresLeases(store, server="other", home="here").take()
    assert lease is not None
    await lease.release()
    await store.close()


async def test_a_password_comes_from_a_file(tmp_path: Path, url: str) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    # Here PostgreSQL asks for none; that the file is read shows when it is not there.
    assert "schema 1" in await told("migrate", "--store", url, "--store-password-file", file)
    store = await PostgresStore.open(url, password_file=file)
    file.unlink()
    with pytest.raises(Exception, match="password"):
        await PostgresStore.open(url, password_file=file)
    await store.close()


async def test_what_is_for_data_directories_is_refused_with_a_store(url: str) -> None:
    refused = await asyncio.to_thread(kusciajob, "doctor", "--store", url, "--repair")
    assert refused.returncode == 2
    assert "--repair and --runtime are for a data directory" in refused.stderr
