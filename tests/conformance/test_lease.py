"""Who schedules: one server at a time, and one that has lost the lease can change nothing any more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from kusciajob.contracts import Lease, LeaseLost
from kusciajob.model import transitions
from kusciajob.model.errors import StoreFailed
from kusciajob.model.history import Notes
from kusciajob.store.postgres import lease as leases
from kusciajob.store.postgres.lease import PostgresLeases
from kusciajob.store.postgres.store import PostgresStore
from tests.support.builders import new_job
from tests.support.cut_line import CutLine
from tests.support.polling import PATIENCE_SECONDS, eventually_true
from tests.support.postgres import postgres_server

pytestmark = pytest.mark.postgres

SHORT_SECONDS = 0.5
Of = Callable[..., PostgresLeases]


@pytest.fixture
async def stores() -> AsyncIterator[list[PostgresStore]]:
    url = await postgres_server().new_database()
    opened = [await PostgresStore.open(url) for _ in range(2)]
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture
async def of(stores: list[PostgresStore]) -> AsyncIterator[Of]:
    """Makes what a server of that name asks for leases."""
    made: list[PostgresLeases] = []

    def make(store: PostgresStore, server: str, home: str = "") -> PostgresLeases:
        made.append(PostgresLeases(store, server=server, home=home))
        return made[-1]

    yield make
    for source in made:
        await source.close()


async def taken(source: PostgresLeases) -> Lease:
    """The lease, once it is free."""
    lease = await eventually_true(source.take)
    assert lease is not None
    return lease


async def test_of_many_servers_one_gets_the_lease(stores: list[PostgresStore], of: Of) -> None:
    found = await asyncio.gather(*(of(store, f"{n}").take() for n, store in enumerate(stores * 5)))
    (lease,) = [each for each in found if each is not None]
    await lease.held()
    await lease.release()


async def test_a_lease_that_is_given_back_is_had_at_once_by_another_server(stores: list[PostgresStore], of: Of) -> None:
    one, other = of(stores[0], "one"), of(stores[1], "other")
    first = await taken(one)
    assert await other.take() is None
    waiting = asyncio.create_task(other.wait())
    await first.release()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)
    second = await taken(other)
    assert await one.take() is None
    await second.release()


async def test_a_server_that_has_lost_the_lease_changes_nothing_and_all_others_do(
    stores: list[PostgresStore], of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", SHORT_SECONDS)
    one, other = stores
    earlier = await taken(of(one, "one"))
    job = await earlier.store.create(new_job())
    later = await taken(of(other, "other"))  # the earlier one was not renewed
    for change in (
        earlier.store.create(new_job("job-2")),
        earlier.store.replace(transitions.explain(job, 0, "from the past"), notes=Notes()),
        earlier.store.delete(job),
        earlier.store.truncate_log(1),
        earlier.store.forget_audit(before=1e12, keep=0),
        earlier.keep(),
    ):
        with pytest.raises(LeaseLost):
            await change
    assert await one.head() == 1
    job = await one.replace(transitions.explain(job, 0, "a call on that server"))
    await later.store.replace(transitions.explain(job, 0, "of whoever leads"))
    await earlier.release()  # that is nothing to the later one
    monkeypatch.setattr(leases, "LEASE_SECONDS", 60.0)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.0)
    keeping = asyncio.create_task(later.keep())
    await later.held()
    keeping.cancel()
    await later.release()


async def test_a_lease_that_is_kept_is_not_taken(
    stores: list[PostgresStore], of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 60.0)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.0)
    lease = await taken(of(stores[0], "one"))
    connection = await asyncpg.connect(stores[0].database.url)

    first = await connection.fetchval("SELECT leased_until FROM store")

    async def is_renewed() -> bool:
        return bool(await connection.fetchval("SELECT leased_until > $1 FROM store", first))

    keeping = asyncio.create_task(lease.keep())
    await eventually_true(is_renewed)
    assert await of(stores[1], "other").take() is None
    later = leases._uptime() + 61.0
    monkeypatch.setattr(leases, "_uptime", lambda: later)  # it is over by then, but for a renewal
    await asyncio.wait_for(lease.held(), PATIENCE_SECONDS)
    keeping.cancel()
    await connection.close()
    await lease.release()


async def test_a_server_that_waits_looks_when_the_lease_ends(
    stores: list[PostgresStore], of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(leases, "LOOK_SECONDS", 2 * PATIENCE_SECONDS)
    crashed = await taken(of(stores[0], "one"))
    other = of(stores[1], "other")
    while (lease := await other.take()) is None:
        await asyncio.wait_for(other.wait(), PATIENCE_SECONDS)
    await lease.release()
    await crashed.release()


async def test_a_renewal_that_had_to_wait_counts_from_when_it_was_asked_for(
    stores: list[PostgresStore], of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have crashed meanwhile."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 60.0)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.0)
    lease = await taken(of(stores[0], "one"))
    connection = await asyncpg.connect(stores[0].database.url)
    holding = connection.transaction()
    await holding.start()
    first = await connection.fetchval("UPDATE store SET images = images RETURNING leased_until")
    keeping = asyncio.create_task(lease.keep())

    async def waits() -> bool:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE store %'"
            )
        )

    await eventually_true(waits)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 60.0)  # no other one follows
    let_in_at = await connection.fetchval("SELECT clock_timestamp()")
    await holding.commit()

    async def renewed() -> datetime | None:
        until: datetime = await connection.fetchval("SELECT leased_until FROM store")
        return until if until > first else None

    until = await eventually_true(renewed)
    assert until is not None
    assert until < let_in_at + timedelta(seconds=60)
    keeping.cancel()
    await connection.close()
    await lease.release()


async def test_a_lease_whose_answer_was_lost_is_had_at_the_next_look(
    stores: list[PostgresStore], of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 60.0)
    url = stores[1].database.url
    line = CutLine("127.0.0.1", urlsplit(url).port or 0)
    await line.open()
    far = await PostgresStore.open(url.replace(f":{urlsplit(url).port}/", f":{line.port}/"))
    one, other = of(stores[0], "one"), of(far, "other")
    first = await taken(one)
    assert await other.take() is None
    await first.release()
    line.loses_answers = True
    monkeypatch.setattr(leases, "ANSWER_SECONDS", SHORT_SECONDS)
    with pytest.raises(StoreFailed, match="the lease cannot be asked for"):
        await other.take()
    line.loses_answers = False
    monkeypatch.setattr(leases, "ANSWER_SECONDS", PATIENCE_SECONDS)
    assert await one.take() is None
    lease = await other.take()
    assert lease is not None
    await lease.held()
    await lease.release()
    await far.close()
    await other.close()
    await line.close()


async def test_nobody_acts_under_a_lease_that_may_be_over(
    stores: list[PostgresStore], of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.0)
    lease = await taken(of(stores[0], "one"))
    acting = asyncio.create_task(lease.held())
    done, _ = await asyncio.wait([acting], timeout=0.1)
    assert not done
    monkeypatch.setattr(leases, "LEASE_SECONDS", 60.0)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.0)
    keeping = asyncio.create_task(lease.keep())  # nobody took over: it goes on
    await asyncio.wait_for(acting, PATIENCE_SECONDS)
    keeping.cancel()
    await lease.release()


async def test_programs_on_one_machine_are_led_from_there_until_that_is_given_up(
    stores: list[PostgresStore], of: Of, caplog: pytest.LogCaptureFixture
) -> None:
    lease = await taken(of(stores[0], "one", home="here"))
    await lease.release()
    assert await of(stores[1], "other", home="there").take() is None
    assert "this one serves calls and can never take over" in caplog.text
    lease = await taken(of(stores[1], "one again", home="here"))
    assert not await leases.forget_home(stores[0].database)
    await lease.release()
    assert await leases.forget_home(stores[0].database)
    await (await taken(of(stores[1], "other", home="there"))).release()
