"""Watchers of a store that fails ask it again, less and less often."""

import asyncio
from itertools import pairwise

import pytest

from kusciajob.events.source import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Source
from kusciajob.store.memory import MemoryStore
from tests.support.stores import FaultyStore

TRIES = 12


async def test_a_failing_store_is_asked_again_at_growing_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FaultyStore(MemoryStore())
    store.fails = {"head"}
    delays: list[float] = []

    async def note(seconds: float) -> None:
        delays.append(seconds)
        if len(delays) == TRIES:
            store.fails.clear()

    monkeypatch.setattr(asyncio, "sleep", note)
    assert await Source(store).head() == 0
    assert delays[0] == FIRST_DELAY_SECONDS
    assert delays[-1] == LONGEST_DELAY_SECONDS
    assert len(delays) == TRIES
    assert all(after == min(2 * before, LONGEST_DELAY_SECONDS) for before, after in pairwise(delays))
