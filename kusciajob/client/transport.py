"""How calls reach the server: by asyncio, or blocking. What the client does is written once, on top of either.

The coroutines of the blocking transport never wait for an event loop: they block, so `run` can take them through in one
step, on any thread, with or without an event loop there.
"""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar, Protocol, TypeVar

import grpc
import grpc.aio

from kusciajob.api import kuscia, v1
from kusciajob.client import errors
from kusciajob.client.settings import CHANNEL_OPTIONS, ClientSettings

_Value = TypeVar("_Value")


class Stubs:
    """The services of a channel."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
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
        """A stream; its `cancel` ends it. For `messages`."""

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
        if _Fork.is_child:
            return self._threads.stubs
        if self._is_closed:
            raise errors.ClientClosed
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._by_loop:
                for other in [other for other in self._by_loop if other.is_closed()]:
                    del self._by_loop[other]
                stubs = Stubs(_channel(self._settings, grpc.aio.insecure_channel, grpc.aio.secure_channel))
                self._by_loop[loop] = stubs
                _Fork.aio.add(stubs.channel)
            return self._by_loop[loop]

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        if _Fork.is_child:
            return await self._threads.unary(method, request, timeout=timeout)
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        except grpc.aio.UsageError:  # so gRPC says that the channel is closed
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None
        except asyncio.CancelledError:
            raise _cancelled() from None

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        if _Fork.is_child:
            return await self._threads.open(method, request, timeout=timeout)
        try:
            return method(request, timeout=timeout)
        except grpc.aio.UsageError:  # so gRPC says that the channel is closed
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        if _Fork.is_child:
            return await self._threads.is_placed(stream, within=within)
        try:
            async with asyncio.timeout(within):
                await stream.initial_metadata()  # also returns when the call has failed: reading tells
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            raise _cancelled() from None
        return True

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        try:
            if _Fork.is_child:
                stream = self._threads.messages(stream)
            async for message in stream:
                yield message
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        except asyncio.CancelledError:
            raise _cancelled() from None
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
            else:
                stream.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        self._is_closed = True
        await self._threads.close()
        with self._lock:
            stubs = self._by_loop.pop(asyncio.get_running_loop(), None)
        if stubs is not None and not _Fork.is_child:
            await stubs.channel.close(None)


def _cancelled() -> BaseException:
    """The caller's task was cancelled, or, which gRPC shows in the same way, the client was closed during the call."""
    task = asyncio.current_task()
    return asyncio.CancelledError() if task and task.cancelling() else errors.ClientClosed()


class BlockingTransport:
    """Blocking, for any number of threads. A child process gets a channel of its own."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stubs: Stubs | None = None
        self._is_closed = False
        _Fork.blocking.add(self)

    @property
    def address(self) -> str:
        return self._settings.address

    @property
    def stubs(self) -> Stubs:
        if self._is_closed:
            raise errors.ClientClosed
        with self._lock:
            if self._stubs is None:
                self._stubs = Stubs(_channel(self._settings, grpc.insecure_channel, grpc.secure_channel))
            return self._stubs

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._error_of(error) from None
        except ValueError:  # so gRPC says that the channel is closed
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        try:
            return method(request, timeout=timeout)
        except ValueError:
            if not self._is_closed:
                raise
            raise errors.ClientClosed from None

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        # gRPC waits for headers without a limit; they come, at the latest, with the end of the stream.
        waiting = threading.Thread(target=_wait_for_headers, args=(stream,), name="kusciajob watch", daemon=True)
        waiting.start()
        waiting.join(within)
        return not waiting.is_alive()

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        try:
            for message in stream:
                yield message
        except grpc.RpcError as error:
            raise self._error_of(error) from None
        finally:
            stream.cancel()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # blocking is what this transport is for

    async def close(self) -> None:
        stubs, self._stubs, self._is_closed = self._stubs, None, True
        if stubs is not None:
            stubs.channel.close()

    def leave_to_parent(self) -> Stubs | None:
        """In a child process: begin anew. What the parent still uses is not to be closed here, so it is handed out."""
        inherited, self._stubs, self._lock = self._stubs, None, threading.Lock()
        return inherited

    def _error_of(self, error: grpc.RpcError) -> errors.ClientError:
        return errors.ClientClosed() if self._is_closed else errors.of_rpc(error, self._settings.address)


class ThreadTransport(BlockingTransport):
    """By asyncio, where gRPC's own cannot be used: with a thread for each stream."""

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        call = method.future(request, timeout=timeout)
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(_resolve, answered))
        try:
            await answered
            return call.result()
        except grpc.RpcError as error:
            raise self._error_of(error) from None
        finally:
            call.cancel()

    async def is_placed(self, stream: Any, *, within: float) -> bool:
        return await asyncio.to_thread(run, super().is_placed(stream, within=within))

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        loop, reading = asyncio.get_running_loop(), ThreadPoolExecutor(1, "kusciajob stream")
        try:
            while (message := await loop.run_in_executor(reading, next, stream, None)) is not None:
                yield message
        except grpc.RpcError as error:
            raise self._error_of(error) from None
        finally:
            stream.cancel()
            reading.shutdown(wait=False)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Fork:
    """What a child process must know of its parent."""

    is_child = False
    """This process was forked from one that had the client loaded, and perhaps used gRPC's asyncio."""
    aio: ClassVar["weakref.WeakSet[Any]"] = weakref.WeakSet()
    blocking: ClassVar["weakref.WeakSet[BlockingTransport]"] = weakref.WeakSet()
    inherited: ClassVar[list[Any]] = []
    """The parent's channels: to let go of one would close it, which ends the process."""

    @classmethod
    def note(cls) -> None:
        cls.is_child = True
        cls.inherited += [*cls.aio, *(transport.leave_to_parent() for transport in cls.blocking)]
        cls.aio.clear()


os.register_at_fork(after_in_child=_Fork.note)


def _channel(settings: ClientSettings, insecure: Callable[..., Any], secure: Callable[..., Any]) -> Any:
    credentials = settings.credentials()
    if credentials is None:
        return insecure(settings.address, options=CHANNEL_OPTIONS)
    return secure(settings.address, credentials, options=CHANNEL_OPTIONS)


def _resolve(answered: "asyncio.Future[None]") -> None:
    if not answered.done():
        answered.set_result(None)


def _wait_for_headers(stream: Any) -> None:
    with suppress(grpc.RpcError):
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
