"""Whoever waits for the newest events is woken by whatever happens to them."""

import asyncio
from collections.abc import Callable

import pytest

from kusciajob.events.ring import Ring, SharedEvent
from kusciajob.model.status import EventType, JobEvent
from tests.support.builders import new_job
from tests.support.polling import PATIENCE_SECONDS, give_way


def event(revision: int) -> SharedEvent:
    return SharedEvent(JobEvent(revision, EventType.ADDED, new_job().summary))


@pytest.mark.parametrize(
    "happen",
    [lambda ring: ring.append([event(1)]), lambda ring: ring.restart(5), lambda ring: ring.close("the test is over")],
    ids=["appended", "restarted", "closed"],
)
async def test_whoever_waits_is_woken(happen: Callable[[Ring], None]) -> None:
    ring = Ring(4)
    ring.open(0)
    waiters = [asyncio.create_task(ring.wait()) for _ in range(3)]
    await give_way(2)
    assert not any(waiter.done() for waiter in waiters)
    happen(ring)
    await asyncio.wait_for(asyncio.gather(*waiters), PATIENCE_SECONDS)
