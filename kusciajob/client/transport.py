"""How calls reach the server: by asyncio, or blocking. What the client does is written once, on top of either.

The coroutines of the blocking transport never wait for an event loop: they block, so `run` can take them through in one
step, on any thread, with or without an event loop there.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from kusciajob.api import kuscia, v1
from kusciajob.client import errors
from kusciajob.client.line import Line, forks
from kusciajob.client.reading import Reading
from kusciajob.client.settings import CHANNEL_OPTIONS, ClientSettings

_Value = TypeVar("_Value")
REQUEST_ID = "x-request-id"
FORKED = "the connection was closed, because this process was forked"


class Stubs:
    """The services of a line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        channel: Any = line
        self.jobs = kuscia.JobServiceStub(channel)
        self.logs = kuscia.LogServiceStub(channel)
        self.health = kuscia.HealthServiceStub(channel)
        self.v1 = v1.JobsServiceStub(channel)
        self.app_images = v1.AppImagesServiceStub(channel)
        self.server = v1.ServerServiceStub(channel)


class Transport(Protocol):
    """One server. Every failure is a ClientError."""

    @property
    def address(self) -> str: ...

    @property
    def stubs(self) -> Stubs: ...

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        """The response, within so many seconds."""

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        """A stream, for `messages`."""

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        """Whether the server has answered the stream, or ended it, within so many seconds."""

    def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        """The messages of an open stream."""

    async def sleep(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class AsyncTransport:
    """By asyncio. Each event loop has a channel of its own, also where loops run in several threads.

    gRPC's asyncio does not survive a fork: in a child process the calls are made by threads.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._threads = ThreadTransport(settings)
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, Stubs] = {}
        self._is_closed = False

    @property
    def address(self) -> str:
        return self._settings.address

    @property
    def stubs(self) -> Stubs:
        if forks.is_child:
            return self._threads.stubs
        if self._is_closed:
            raise errors.ClientClosed
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._by_loop:
                for other in [other for other in self._by_loop if other.is_closed()]:
                    del self._by_loop[other]
                self._by_loop[loop] = Stubs(Line(self._connect, loop))
            return self._by_loop[loop]

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        if forks.is_child:
            return await self._threads.unary(method, request, timeout=timeout)
        line = self.stubs.line
        cuts = line.cuts
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        except grpc.aio.UsageError:  # so gRPC says that the channel is closed
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None
        except asyncio.CancelledError:
            raise self._cancelled(is_cut=line.cuts != cuts) from None

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        if forks.is_child:
            return await self._threads.open(method, request, timeout=timeout)
        line = self.stubs.line
        try:
            return _Stream(method, request, line, timeout=timeout)
        except grpc.aio.UsageError:  # so gRPC says that the channel is closed
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        if forks.is_child:
            return await self._threads.is_placed(stream, within=within)
        try:
            async with asyncio.timeout(within):
                await stream.call.initial_metadata()  # also returns when the call has failed: reading tells
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            raise self._cancelled(is_cut=stream.is_cut) from None
        return True

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        if forks.is_child:
            async with aclosing(self._threads.messages(stream)) as messages:
                async for message in messages:
                    yield message
            return
        try:
            async for message in stream.call:
                yield message
                stream.reading.take()
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        except asyncio.CancelledError:
            raise self._cancelled(is_cut=stream.is_cut) from None
        finally:
            stream.call.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        self._is_closed = True
        await self._threads.close()
        if forks.is_child:
            return
        with self._lock:
            stubs = self._by_loop.pop(asyncio.get_running_loop(), None)
        channel = stubs.line.hang_up() if stubs is not None else None
        if channel is not None:
            await channel.close(None)

    def _connect(self) -> Any:
        if self._is_closed:
            raise errors.ClientClosed
        return _channel(self._settings, grpc.aio.insecure_channel, grpc.aio.secure_channel)

    def _cancelled(self, *, is_cut: bool) -> BaseException:
        """The caller's task was cancelled, or, which gRPC shows in the same way, the channel was closed in the call."""
        task = asyncio.current_task()
        if task and task.cancelling():
            return asyncio.CancelledError()
        return errors.Unavailable(self._settings.address, FORKED) if is_cut else errors.ClientClosed()


class BlockingTransport:
    """Blocking, for any number of threads."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._is_closed = False
        self._line = Line(self._connect)
        self._stubs = Stubs(self._line)

    @property
    def address(self) -> str:
        return self._settings.address

    @property
    def stubs(self) -> Stubs:
        if self._is_closed:
            raise errors.ClientClosed
        return self._stubs

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        with self._inside(self._line.cuts):
            return method(request, timeout=timeout)

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        with self._inside(self._line.cuts):
            return _Stream(method, request, self._line, timeout=timeout)

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        # gRPC waits for headers without a limit; they come, at the latest, with the end of the stream.
        waiting = threading.Thread(target=_wait_for_headers, args=(stream.call,), name="kusciajob watch", daemon=True)
        waiting.start()
        waiting.join(within)
        return not waiting.is_alive()

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        try:
            while (message := self._next(stream)) is not None:
                yield message
                stream.reading.take()
        finally:
            self._end(stream)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # blocking is what this transport is for

    async def close(self) -> None:
        self._is_closed = True
        channel = self._line.hang_up()
        if channel is not None:
            channel.close()

    def _connect(self) -> Any:
        if self._is_closed:
            raise errors.ClientClosed
        return _channel(self._settings, grpc.insecure_channel, grpc.secure_channel)

    def _next(self, stream: "_Stream") -> Any:
        """The next message; None after the last."""
        with self._inside(stream.cuts):
            return next(stream.call, None)

    def _end(self, stream: "_Stream") -> None:
        with forks.inside():
            stream.call.cancel()

    @contextmanager
    def _inside(self, cuts: int) -> Iterator[None]:
        """Around what this thread does in gRPC. `cuts`: those of the line before the call."""
        try:
            with forks.inside():
                yield
        except grpc.RpcError as error:
            raise self._error_of(error, cuts) from None
        except ValueError:  # so gRPC says that the channel is closed
            if self._line.cuts != cuts:
                raise errors.Unavailable(self.address, FORKED) from None
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None

    def _error_of(self, error: grpc.RpcError, cuts: int) -> errors.ClientError:
        if self._is_closed:
            return errors.ClientClosed()
        if self._line.cuts != cuts:
            return errors.Unavailable(self.address, FORKED)
        return errors.of_rpc(error, self._settings.address)


class ThreadTransport(BlockingTransport):
    """By asyncio, where gRPC's own cannot be used: with a thread for each stream."""

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        loop, cuts = asyncio.get_running_loop(), self._line.cuts
        answered = loop.create_future()
        with self._inside(cuts):
            call = method.future(request, timeout=timeout)
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(_resolve, answered))
        try:
            await answered
            with self._inside(cuts):
                return call.result()
        except grpc.FutureCancelledError:
            raise errors.Unavailable(self.address, FORKED) from None
        finally:
            call.cancel()

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        return await asyncio.to_thread(run, super().is_placed(stream, within=within))

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        loop, reading = asyncio.get_running_loop(), ThreadPoolExecutor(1, "kusciajob stream")
        try:
            while (message := await loop.run_in_executor(reading, self._next, stream)) is not None:
                yield message
                stream.reading.take()
        finally:
            self._end(stream)
            reading.shutdown(wait=False)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream:
    """A stream of gRPC, opened here."""

    def __init__(self, method: Any, request: Any, line: Line, *, timeout: float | None) -> None:
        self.cuts = line.cuts
        """Those of the line before it."""
        self.reading = Reading()
        self.call = method(request, timeout=timeout, metadata=((REQUEST_ID, self.reading.request_id),))
        self._line = line

    @property
    def is_cut(self) -> bool:
        return self._line.cuts != self.cuts


def _channel(settings: ClientSettings, insecure: Callable[..., Any], secure: Callable[..., Any]) -> Any:
    credentials = settings.credentials()
    if credentials is None:
        return insecure(settings.address, options=CHANNEL_OPTIONS)
    return secure(settings.address, credentials, options=CHANNEL_OPTIONS)


def _resolve(answered: "asyncio.Future[None]") -> None:
    if not answered.done():
        answered.set_result(None)


def _wait_for_headers(stream: Any) -> None:
    with forks.inside(), suppress(grpc.RpcError):
        stream.initial_metadata()


def run(work: Coroutine[Any, Any, _Value]) -> _Value:
    """The value of a coroutine that stands on a blocking transport."""
    try:
        work.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    work.close()
    raise RuntimeError("a call of the blocking client waited for an event loop")
