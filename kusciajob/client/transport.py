"""How calls reach the server: by asyncio, or blocking. What the client does is written once, on top of either.

The coroutines of the blocking transport never wait for an event loop: they block, so `run` can take them through in one
step, on any thread, with or without an event loop there.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from kusciajob.api import kuscia, v1
from kusciajob.client import errors
from kusciajob.client.settings import CHANNEL_OPTIONS, ClientSettings

_Value = TypeVar("_Value")
_CLOSED = "the client was closed"


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
    def stubs(self) -> Stubs: ...

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        """The response, within so many seconds."""

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        """A stream, once the server has begun it; its `cancel` ends it. For `messages`."""

    def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        """The messages of an open stream."""

    async def sleep(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class AsyncTransport:
    """By asyncio. A channel belongs to the event loop that runs when it is first used; another loop gets its own."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stubs: Stubs | None = None
        self._is_closed = False

    @property
    def stubs(self) -> Stubs:
        _refuse(is_closed=self._is_closed)
        loop = asyncio.get_running_loop()
        if self._stubs is None or self._loop is not loop:
            self._loop, address = loop, self._settings.address
            credentials = self._settings.credentials()
            if credentials is None:
                channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
            else:
                channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
            self._stubs = Stubs(channel)
        return self._stubs

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        except asyncio.CancelledError:
            raise _cancelled() from None

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        stream = method(request, timeout=timeout)
        await stream.initial_metadata()  # also returns when the call has failed: reading tells
        return stream

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        try:
            async for message in stream:
                yield message
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        except asyncio.CancelledError:
            raise _cancelled() from None
        finally:
            stream.cancel()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        stubs, self._stubs, self._is_closed = self._stubs, None, True
        if stubs is not None and self._loop is asyncio.get_running_loop():
            await stubs.channel.close(None)


def _refuse(*, is_closed: bool) -> None:
    if is_closed:
        raise errors.RpcFailed(_CLOSED)


def _cancelled() -> BaseException:
    """The caller's task was cancelled, or, which gRPC shows in the same way, the client was closed during the call."""
    task = asyncio.current_task()
    return asyncio.CancelledError() if task and task.cancelling() else errors.RpcFailed(_CLOSED)


class BlockingTransport:
    """Blocking, for any number of threads. A child process gets a channel of its own."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process = 0
        self._stubs: Stubs | None = None
        self._is_closed = False

    @property
    def stubs(self) -> Stubs:
        _refuse(is_closed=self._is_closed)
        process = os.getpid()
        if process != self._process:  # another thread may have held the lock when this process was forked
            self._lock, self._stubs, self._process = threading.Lock(), None, process
        with self._lock:
            if self._stubs is None:
                address, credentials = self._settings.address, self._settings.credentials()
                if credentials is None:
                    channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
                else:
                    channel = grpc.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
                self._stubs = Stubs(channel)
            return self._stubs

    async def unary(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None

    async def open(self, method: Any, request: Any, *, timeout: float | None) -> Any:
        stream = method(request, timeout=timeout)
        try:
            stream.initial_metadata()
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        return stream

    async def messages(self, stream: Any) -> AsyncGenerator[Any, None]:
        try:
            for message in stream:
                yield message
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self._settings.address) from None
        finally:
            stream.cancel()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # blocking is what this transport is for

    async def close(self) -> None:
        stubs, self._stubs, self._is_closed = self._stubs, None, True
        if stubs is not None and self._process == os.getpid():
            stubs.channel.close()


def run(work: Coroutine[Any, Any, _Value]) -> _Value:
    """The value of a coroutine that stands on a blocking transport."""
    try:
        work.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    work.close()
    raise RuntimeError("a call of the blocking client waited for an event loop")
