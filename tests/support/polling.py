"""Waiting for something to become true, or for others to go on: the only place where tests sleep."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

POLL_SECONDS = 0.01
PATIENCE_SECONDS = float(os.environ.get("PATIENCE_SECONDS", "30"))
"""How long a loaded machine may take; whoever waits for what comes at once does not wait longer for that."""

PROMISED_SECONDS = max(10.0, PATIENCE_SECONDS / 3)
"""Within 10 seconds, several servers promise, they take over and tell what is wrong; a loaded machine may take more."""

OUTAGE_SECONDS = 60.0
"""How long an engine or a cluster is away in the tests that are about that."""

T = TypeVar("T")


async def eventually_true(ask: Callable[[], Awaitable[T]], *, timeout_seconds: float = PATIENCE_SECONDS) -> T:
    """The first truthy answer of a coroutine; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := await ask()):
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} s, last value {value!r}"
        await asyncio.sleep(POLL_SECONDS)
    return value


async def eventually(predicate: Callable[[], T], *, timeout_seconds: float = PATIENCE_SECONDS) -> T:
    """The predicate's first truthy value; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} s, last value {value!r}"
        await asyncio.sleep(POLL_SECONDS)
    return value


def eventually_sync(predicate: Callable[[], T], *, timeout_seconds: float = PATIENCE_SECONDS) -> T:
    """The same without an event loop."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} s, last value {value!r}"
        time.sleep(POLL_SECONDS)
    return value


async def passed(seconds: float) -> None:
    """Let that much time pass: for tests whose promise is about what lasts so long."""
    await asyncio.sleep(seconds)


def passed_sync(seconds: float) -> None:
    """The same without an event loop."""
    time.sleep(seconds)


async def give_way(turns: int) -> None:
    """Let everybody else go on for that many turns of the event loop; no time need pass."""
    for _ in range(turns):
        await asyncio.sleep(0)
