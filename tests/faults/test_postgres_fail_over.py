"""PostgreSQL fails, and its standby takes over: nothing that was acknowledged is lost, and nothing is made twice."""

import asyncio

import asyncpg
import pytest

from kusciajob import config
from kusciajob.model.errors import JobExists, StoreFailed
from kusciajob.store.postgres.store import PostgresStore
from tests.support.builders import new_job
from tests.support.polling import eventually, eventually_true, passed
from tests.support.postgres import USER, PostgresServer, programs

pytestmark = pytest.mark.postgres

WRITERS = 4


async def test_nothing_acknowledged_is_lost_when_a_standby_is_promoted() -> None:
    if (binaries := programs()) is None:
        pytest.skip("PostgreSQL is not installed")
    primary = PostgresServer(binaries)
    url = await primary.new_database()
    database = url.rpartition("/")[2]
    standby = PostgresServer(binaries, standby_of=primary)
    await standby.ready()
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await connection.execute("SELECT pg_reload_conf()")

    async def is_synchronous() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))

    await eventually_true(is_synchronous)
    await connection.close()
    both = f"postgresql://{USER}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{database}"
    both = config.load({"store": f"{both}?target_session_attrs=read-write"}, environment={}).store
    store = await PostgresStore.open(both)
    acknowledged: dict[str, int] = {}
    failures = 0
    is_over = False

    async def write(writer: int) -> None:
        nonlocal failures
        number = 0
        while not is_over:
            try:
                job = await store.create(new_job(f"{writer}-{number}"))
            except JobExists:  # it was made, and nobody knew
                number += 1
            except StoreFailed:
                failures += 1
                await passed(0.05)
            else:
                acknowledged[job.job_id] = job.revision
                number += 1

    writing = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    await eventually(lambda: len(acknowledged) > 50)
    primary.kill()
    await eventually(lambda: failures > 0)
    await asyncio.to_thread(standby.promote)
    before = len(acknowledged)
    await eventually(lambda: len(acknowledged) > before + 50)
    is_over = True
    await asyncio.gather(*writing)

    log = await store.read_log(0, 100_000)
    assert [event.revision for event in log] == list(range(1, len(log) + 1))
    assert len({event.job.job_id for event in log}) == len(log)
    told = {event.job.job_id: event.revision for event in log}
    assert {job_id: told.get(job_id) for job_id in acknowledged} == acknowledged
    assert not store.failing.is_set()
    await store.close()
    standby.stop()
    primary.stop()
