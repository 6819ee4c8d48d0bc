"""The layer between the edges and the calls: it records what is called, and lets faults happen."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from kusciajob.api.broken import Broken
from kusciajob.api.routes import WATCHES
from kusciajob.simulation.clock import VirtualClock
from kusciajob.simulation.faults import PARTITION, UNAVAILABLE, Fault, Faults, fits, kuscia_name
from kusciajob.telemetry import request as telemetry
from kusciajob.usecases.callers import Caller

MAX_CALLS = 10_000
OK = "OK"
BROKEN_OFF = "BROKEN_OFF"


class RecordedCall(Struct):
    """A call; its `outcome` is empty while it goes on."""

    number: int
    rpc: MethodDescriptor
    domain: str
    request: Message
    at: float
    fault: int
    outcome: str = ""

    @property
    def method(self) -> str:
        """As Kuscia names it."""
        return kuscia_name(self.rpc.name)


class OpenStream:
    """A stream that is being sent."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.request_id = telemetry.present().id
        self.sent = 0
        """How many messages have been handed to the connection."""
        self.cut: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()


class Traffic:
    """Records the calls, and breaks them as the faults say. `target` is what would serve a method now."""

    def __init__(self, clock: VirtualClock, target: Callable[[MethodDescriptor], Any]) -> None:
        self._clock = clock
        self._target = target
        self.faults = Faults()
        self.calls: deque[RecordedCall] = deque(maxlen=MAX_CALLS)
        self._count = 0
        self.active = 0
        """Calls that are being served, but for streams and for those that wait for time to pass."""
        self.paused_streams = 0
        """Streams that wait for time to pass, not for events."""
        self.streams: set[OpenStream] = set()
        self._away: Counter[object] = Counter()
        """The watchers whose streams a fault has ended, until they come back."""

    def clear(self) -> None:
        """Forget calls and faults. What is open stays so."""
        self.calls.clear()
        self._count = 0
        self.faults.clear()
        self._away.clear()

    @property
    def away(self) -> int:
        """How many watchers are expected back; those behind a partition cannot come."""
        leaving = sum(stream.cut.done() for stream in self.streams)
        return 0 if self.faults.is_partitioned else leaving + self._away.total()

    def expect_nobody(self) -> None:
        """Watchers that are away do not come back."""
        self._away.clear()

    def cut_streams(self, pattern: str, *, cuts: bool = False) -> int:
        """End the open streams of the methods that match; how many there were."""
        chosen = [stream for stream in self.streams if fits(pattern, stream.method) and not stream.cut.done()]
        for stream in chosen:
            stream.cut.set_result(Broken(UNAVAILABLE, "a test has cut this stream", cuts=cuts))
        return len(chosen)

    def wrap(self, method: MethodDescriptor) -> Callable[..., Any]:
        """What serves a method at an edge."""
        return self._stream(method) if method.server_streaming else self._unary(method)

    def _begin(self, method: MethodDescriptor, request: Message, caller: Caller) -> tuple[RecordedCall, Fault | None]:
        """Raises Broken while the network is partitioned: then no call has arrived."""
        if self.faults.is_partitioned:
            raise Broken(UNAVAILABLE, PARTITION, cuts=True)
        number, fault = self.faults.find(method.name, caller.domain)
        self._count += 1
        call = RecordedCall(self._count, method, caller.domain, request, self._clock.now(), number)
        self.calls.append(call)
        return call, fault

    def _unary(self, method: MethodDescriptor) -> Callable[[Any, Caller], Awaitable[Any]]:
        async def serve(request: Any, caller: Caller) -> Any:
            call, fault = self._begin(method, request, caller)
            self.active += 1
            try:
                response = await self._answer(method, request, caller, fault)
                call.outcome = _outcome(response)
                return response
            except Exception as error:
                call.outcome = error.status if isinstance(error, Broken) else type(error).__name__
                raise
            finally:
                call.outcome = call.outcome or BROKEN_OFF
                self.active -= 1

        return serve

    async def _answer(self, method: MethodDescriptor, request: Any, caller: Caller, fault: Fault | None) -> Any:
        if fault is None:
            return await self._target(method)(request, caller)
        if fault.delay:
            self.active -= 1
            try:
                await self._clock.sleep(fault.delay)
            finally:
                self.active += 1
        if fault.ends_call and not fault.after_effect:
            return fault.end(method)
        response = await self._target(method)(request, caller)
        return fault.end(method) if fault.ends_call else response

    def _stream(self, method: MethodDescriptor) -> Callable[..., AsyncGenerator[Any, None]]:
        async def serve(request: Any, caller: Caller, **keywords: Any) -> AsyncGenerator[Any, None]:
            call, fault = self._begin(method, request, caller)
            watcher = _watcher(method, request, caller)
            opened = OpenStream(method.name)
            try:
                self._away -= Counter([watcher])
                if fault is not None and fault.delay:
                    await self._clock.sleep(fault.delay)
                if fault is not None and fault.ends_call and not fault.after_messages:
                    answer = fault.end(method)
                    call.outcome = _outcome(answer)
                    yield ()  # the stream has begun
                    yield (answer,)
                    return
                self.streams.add(opened)
                batches = self._target(method)(request, caller, **keywords)
                told = batches if fault is None else self._slowed(batches, fault, method)
                async with aclosing(told):
                    while (batch := await _next_or_cut(told, opened.cut)) is not None:
                        yield batch
                        opened.sent += len(batch)
                call.outcome = OK
            except Broken as broken:
                call.outcome = broken.status
                if broken.status == UNAVAILABLE and method.name in WATCHES:
                    self._away[watcher] += 1
                raise
            finally:
                call.outcome = call.outcome or BROKEN_OFF
                self.streams.discard(opened)

        return serve

    async def _slowed(
        self, batches: AsyncGenerator[Any, None], fault: Fault, method: MethodDescriptor
    ) -> AsyncGenerator[Any, None]:
        """The messages one by one, until the fault ends the stream."""
        sent = 0
        async with aclosing(batches):
            async for batch in batches:
                if not batch:
                    yield batch
                for item in batch:
                    if fault.message_delay:
                        self.paused_streams += 1
                        try:
                            await self._clock.sleep(fault.message_delay)
                        finally:
                            self.paused_streams -= 1
                    yield (item,)
                    sent += 1
                    if 0 < fault.after_messages <= sent:
                        fault.end(method)


def _watcher(method: MethodDescriptor, request: Message, caller: Caller) -> object:
    """Who watches: a watch that begins elsewhere in the log is the same watcher's."""
    asked = type(request)()
    asked.CopyFrom(request)
    for name in ("after_revision", "include_existing", "timeout_seconds"):
        if name in asked.DESCRIPTOR.fields_by_name:
            asked.ClearField(name)
    return method.name, caller.domain, asked.SerializeToString(deterministic=True)


async def _next_or_cut(batches: AsyncGenerator[Any, None], cut: asyncio.Future[Broken]) -> Any:
    """The next batch; None after the last. Raises Broken if the stream is cut, before a batch that is there."""
    following = asyncio.ensure_future(anext(batches, None))
    try:
        await asyncio.wait((following, cut), return_when=asyncio.FIRST_COMPLETED)
        if cut.done():
            raise cut.result()
        return following.result()
    finally:
        if not following.done():
            following.cancel()
            await asyncio.wait([following])
        if not following.cancelled():
            following.exception()  # of a stream that a fault and a cut end together one is told


def _outcome(response: Any) -> str:
    status = getattr(response, "status", None)
    return str(status.code) if status is not None and status.code else OK
