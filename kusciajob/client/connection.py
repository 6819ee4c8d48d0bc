"""A connection to a job server: Kuscia's stubs, with every failure as an exception."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from kusciajob.api import kuscia, v1
from kusciajob.client import errors
from kusciajob.client.errors import Unavailable
from kusciajob.client.settings import CHANNEL_OPTIONS

CALL_SECONDS = 60.0
CONNECT_SECONDS = 10.0
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Connection:
    """`async with` opens the channel; it connects with the first call."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._address = address
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self.jobs = kuscia.JobServiceStub(self._channel)
        self.logs = kuscia.LogServiceStub(self._channel)
        self.health = kuscia.HealthServiceStub(self._channel)
        self.v1 = v1.JobsServiceStub(self._channel)
        self.app_images = v1.AppImagesServiceStub(self._channel)
        self.server = v1.ServerServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)

    async def call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> _Response:
        """The response of a successful call. Raises CallFailed, RpcFailed, Unavailable."""
        try:
            response = await method(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise errors.of_rpc(error, self._address) from None
        _check(response.status)  # type: ignore[attr-defined]  # every response of Kuscia's has one
        return response

    async def ask(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> _Response:
        """The response to a call of kusciajob.v1. Raises CallFailed, NotOffered, RpcFailed, Unavailable."""
        try:
            return await method(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise errors.of_rpc(error, self._address) from None

    async def pages(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> AsyncIterator[_Response]:
        """The pages of a list of kusciajob.v1, from the request's on. Raises as `ask`."""
        page: Any
        asked: Any = request
        while True:
            page = await self.ask(method, asked)
            yield page
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def stream(
        self, method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]", request: _Request
    ) -> AsyncIterator[_Response]:
        """The messages of a stream of kusciajob.v1. Raises as `ask`."""
        try:
            async for message in method(request):
                yield message
        except grpc.aio.AioRpcError as error:
            raise errors.of_rpc(error, self._address) from None

    async def watch(self) -> AsyncIterator[kuscia.WatchJobEventResponse]:
        """Every job as ADDED, then each change, without end. Raises RpcFailed, Unavailable."""
        try:
            async for event in self.jobs.WatchJob(kuscia.WatchJobRequest()):
                yield event
        except grpc.aio.AioRpcError as error:
            raise errors.of_rpc(error, self._address) from None

    async def read_log(self, task_id: str, *, domain: str = "", follow: bool = False) -> AsyncIterator[str]:
        """What the task's party in that domain (empty: its first party) writes. CallFailed, RpcFailed, Unavailable."""
        header = kuscia.RequestHeader(custom_headers={"domain": domain} if domain else {})
        request = kuscia.QueryLogRequest(header=header, task_id=task_id, follow=follow)
        try:
            async for response in self.logs.QueryLog(request):
                _check(response.status)
                yield response.log
        except grpc.aio.AioRpcError as error:
            raise errors.of_rpc(error, self._address) from None

    async def is_serving(self) -> bool:
        """Whether the server can do its work. Raises CallFailed, RpcFailed, Unavailable."""
        return (await self.call(self.health.healthZ, kuscia.HealthRequest())).data.ready

    async def wait_ready(self) -> None:
        """Connect now. Unavailable when the first attempt fails or takes longer than CONNECT_SECONDS."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise Unavailable(self._address, "it does not accept connections")
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state()
        except TimeoutError:
            raise Unavailable(self._address, f"no connection within {CONNECT_SECONDS:g} seconds") from None


def _check(status: kuscia.Status) -> None:
    if status.code:
        raise errors.of_code(status.code, status.message)
