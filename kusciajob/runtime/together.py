"""Awaits what is done for several things at once, such as the replicas of a party."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from kusciajob.contracts import ExitResult


async def all_done(calls: Iterable[Awaitable[Any]]) -> None:
    """Await all; then raise the first error: none is under way any more when one has failed."""
    for failure in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure


async def first_failure(
    ends: Mapping[int, Awaitable[ExitResult]], *, end_all: Callable[[], Awaitable[None]]
) -> ExitResult:
    """The result of all replicas: success of all, or the first failure, which ends the others."""
    waits = {asyncio.ensure_future(end): replica for replica, end in ends.items()}
    try:
        pending = set(waits)
        while pending:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for wait, replica in waits.items():
                if wait not in pending and not (result := wait.result()).succeeded:
                    await end_all()
                    return replace(result, message=f"replica {replica}: {result.message}")
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return ExitResult(succeeded=True, exit_code=0)
