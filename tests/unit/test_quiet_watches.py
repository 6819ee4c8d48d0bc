"""A watch of what has no bookmarks ends before its silence would be taken for a dead connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from kusciajob.runtime.kubernetes.api import Api
from kusciajob.runtime.kubernetes.pods import Event
from kusciajob.runtime.kubernetes.watch import Timing, Watch

QUIET = 100.0


class _Cluster:
    """In which nothing happens."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.was_asked = asyncio.Event()

    async def get(self, _path: str, kind: Any, **_query: str) -> Any:
        return kind()

    @asynccontextmanager
    async def stream(self, _path: str, *, read_seconds: float, **query: str) -> AsyncIterator[Any]:
        assert read_seconds == QUIET
        self.asked.append(float(query["timeoutSeconds"]))
        self.was_asked.set()
        await asyncio.Event().wait()
        yield


@pytest.mark.parametrize("is_history_wanted", [True, False])
async def test_the_watch_of_events_is_asked_to_end_in_time(is_history_wanted: bool) -> None:
    cluster = _Cluster()
    watch = Watch(
        cast(Api, cluster),
        "/api/v1/events",
        Event,
        seen=lambda _event: None,
        is_history_wanted=is_history_wanted,
        timing=Timing(quiet=QUIET, longest=300.0),
    )
    running = asyncio.create_task(watch.run())
    await cluster.was_asked.wait()
    running.cancel()
    # Where there are bookmarks, which come every minute, they break the silence.
    assert (cluster.asked[0] < QUIET) is not is_history_wanted
