"""One party of one task, from its start to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain, repeat
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kusciajob.clock import pause
from kusciajob.contracts import Clock, ExitResult, PartyKey, PartySpec, Runtime, StartFailed
from kusciajob.model.moves import PartyEvent
from kusciajob.telemetry.story import LOG_ONLY, Story, of_party

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)
"""The distances between tries of what must succeed in the end; the last one repeats."""


class PartyReport(Struct, frozen=True, gc=False):
    """What happened to a party, and when (seconds since the epoch; None means just now). For the rest see ExitResult.

    A program that was stopped has no exit code: it says nothing about the program.
    """

    key: PartyKey
    event: PartyEvent
    message: str = ""
    is_fault: bool = False
    detail: str = ""
    exit_code: int | None = None
    at: float | None = None
    was_stopped: bool = False


class PartySupervisor:
    """Starts (or attaches to) a party, reports that it started and how it ended; stops it when asked.

    Whatever happens, it reports exactly one end, once the program is gone and its reservations are free. After
    `cancel`, which leaves the program running, it reports none.
    """

    def __init__(
        self,
        party: PartySpec,
        *,
        runtime: Runtime,
        clock: Clock,
        report: Callable[[PartyReport], None],
        began_at: float | None = None,
        story: Story = LOG_ONLY,
    ) -> None:
        """`began_at`: when the party was started, in seconds since the epoch, if it runs already."""
        self._party = party
        self._runtime = runtime
        self._clock = clock
        self._report = report
        self._story = story
        self._began_at = began_at
        self._starting: asyncio.Task[None] | None = None
        """Until the start is over, whatever became of it."""
        if began_at is None:
            self._starting = asyncio.create_task(runtime.start(party), name=f"party {party.key} start")
        self._stop_reason: str | None = None
        self._stopping: asyncio.Task[None] | None = None
        """The stop of a party whose start is over."""
        self._task = asyncio.create_task(self._run(), name=f"party {party.key}")

    def stop(self, reason: str) -> None:
        """End the program; its report carries the reason. The first call counts; after the end none has an effect."""
        if self._stop_reason is not None or self._task.done():
            return
        self._stop_reason = reason
        if self._starting is not None:
            self._starting.cancel()  # it may hang
        else:
            self._stopping = asyncio.create_task(self._stop_party(), name=f"party {self._party.key} stop")

    async def cancel(self) -> None:
        """Stop supervising; the program is left as it is."""
        tasks = [task for task in (self._task, self._starting, self._stopping) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        try:
            is_started = self._starting is None or await self._see_start(self._starting)
            result = await self._runtime.wait(self._party.key) if is_started else ExitResult(succeeded=False)
        except Exception as error:
            if isinstance(error, StartFailed):
                message, detail = str(error), error.detail
            else:
                logger.exception("a party cannot be supervised any more, it is stopped", extra=of_party(self._party))
                message, detail = f"the runtime failed ({type(error).__name__})", str(error)
            result = ExitResult(succeeded=False, message=message, is_fault=True, detail=detail)
            await self._stop_party()
        if self._stopping is not None:
            await self._stopping
        report = self._end(result)
        self._story.party_ended(
            self._party,
            replace(result, succeeded=report.event is PartyEvent.SUCCEEDED, message=report.message),
            began_at=self._began_at,
            ended_at=result.ended_at or self._clock.now(),
        )
        self._report(report)

    async def _see_start(self, starting: asyncio.Task[None]) -> bool:
        """Whether the party was started. False if it was stopped meanwhile and is gone."""
        # Wait for the task, do not await it: cancelling the start is a stop, cancelling this method is none.
        (failure,) = await asyncio.gather(starting, return_exceptions=True)
        self._starting = None
        if self._stop_reason is not None:
            await self._stop_party()
            return False
        if failure is not None:
            raise failure
        self._began_at = self._clock.now()
        self._story.party_began(self._party)
        self._report(PartyReport(self._party.key, PartyEvent.STARTED, at=self._began_at))
        return True

    async def _stop_party(self) -> None:
        await stop_party(self._party.key, runtime=self._runtime, clock=self._clock)

    def _end(self, result: ExitResult) -> PartyReport:
        key, at = self._party.key, result.ended_at or self._clock.now()
        if self._stop_reason is not None:
            return PartyReport(key, PartyEvent.FAILED, self._stop_reason, at=at, was_stopped=True)
        if result.succeeded:
            return PartyReport(
                key, PartyEvent.SUCCEEDED, result.message, result.is_fault, exit_code=result.exit_code, at=at
            )
        message = result.message or "failed without a reason"
        return PartyReport(key, PartyEvent.FAILED, message, result.is_fault, result.detail, result.exit_code, at)


async def stop_party(key: PartyKey, *, runtime: Runtime, clock: Clock) -> None:
    """Stop the party, again and again, until the runtime says that it is gone and its reservations are free."""
    fields = {"party": str(key), "attempt": key.attempt}
    await until_done(f"stopping party {key}", lambda: runtime.stop(key), clock=clock, fields=fields)


async def until_done(
    what: str, work: Callable[[], Awaitable[T]], *, clock: Clock, fields: Mapping[str, Any] | None = None
) -> T:
    """Do the work until it succeeds, at growing intervals, and return its result.

    Failures are logged, with `fields` on each line.
    """
    for seconds in chain(RETRY_SECONDS, repeat(RETRY_SECONDS[-1])):
        try:
            return await work()
        except Exception as error:
            # One traceback is enough: this may go on for days.
            is_first = seconds == RETRY_SECONDS[0]
            text = "%s failed, trying again in %g s: %s"
            logger.error(text, what, seconds, error or repr(error), exc_info=is_first, extra=fields)
            await pause(seconds, clock=clock)
    raise AssertionError("the tries have no end")
