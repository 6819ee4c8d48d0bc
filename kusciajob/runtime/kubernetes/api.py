"""Requests to the API server of a cluster: bounded in time, number and size, with errors that say what is wrong."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from kusciajob.model.text import shown
from kusciajob.runtime.hosted.engine import EngineUnavailable
from kusciajob.runtime.kubernetes.credentials import Credentials

T = TypeVar("T")

REQUESTS_AT_ONCE = 32
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_MESSAGE_CHARACTERS = 500
BUSY_TRIES = 4
"""How often a request is made that the API server answers with "too many requests"."""
MAX_BUSY_SECONDS = 10.0
MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_RANDOM = secrets.SystemRandom()


class ApiError(Exception):
    """The API server has refused a request. `reason` is the cluster's own word, such as AlreadyExists."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def is_quota(self) -> bool:
        """Whether a quota of the namespace is used up: that can pass."""
        return self.status == 403 and "exceeded quota" in str(self)


class NotFound(ApiError):
    """There is no such object."""


class Conflict(ApiError):
    """An object of that name exists, or it is another one than was meant."""


class Expired(ApiError):
    """The log of changes does not go back that far (410): list again."""


_KINDS: Mapping[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Expired}


class _Refusal(Struct):
    """What the API server answers instead of an object."""

    reason: str = ""
    message: str = ""


class Api:
    """One cluster. Raises EngineUnavailable if it cannot be reached or cannot answer now, ApiError if it refuses."""

    def __init__(self, credentials: Credentials, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self._credentials = credentials
        self._request_seconds = request_seconds
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self.requests = 0
        """How many have been made."""

    async def open(self) -> None:
        """Make the connections possible; the first is made when it is needed."""
        # Watches and outputs are open for long and have their own limits: the connector has none.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, type_: type[T], **query: str) -> T:
        """An object, or a list of them."""
        return _decoded(await self._request("GET", path, query=query), type_)

    async def create(self, path: str, manifest: Mapping[str, Any], type_: type[T]) -> T:
        """Make an object. Raises Conflict if there is one of that name."""
        return _decoded(await self._request("POST", path, body=manifest), type_)

    async def patch(self, path: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an object. A uid in it is a condition: Conflict if the object is another one."""
        await self._request("PATCH", path, body=change, content_type=MERGE_PATCH)

    async def delete(self, path: str, *, uid: str = "", grace_seconds: int | None = None, **query: str) -> None:
        """Delete an object, or by a selector all that match. What is gone, or is another one by now, is success."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        with suppress(NotFound, Conflict):
            await self._request("DELETE", path, body=options, query=query)

    @asynccontextmanager
    async def stream(
        self, path: str, *, read_seconds: float | None, **query: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer that goes on; raises EngineUnavailable if nothing comes for `read_seconds`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds)
        try:
            async with self._turns:
                answer = await self._send("GET", path, query=query, timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None
        try:
            if answer.status >= 400:
                raise _error_of(answer.status, await _body_of(answer))
            yield self._chunks(answer)
        finally:
            answer.close()

    async def _chunks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        for tried in range(1, BUSY_TRIES + 1):
            try:
                async with self._turns, asyncio.timeout(self._request_seconds):
                    answer = await self._send(
                        method,
                        path,
                        query=query or {},
                        timeout=aiohttp.ClientTimeout(),
                        data=data,
                        content_type=content_type,
                    )
                    async with answer:
                        content = await _body_of(answer)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable(error) from None
            if answer.status < 400:
                return content
            if answer.status != 429 or tried == BUSY_TRIES:
                break
            await asyncio.sleep(_pause(answer.headers.get("Retry-After", ""), tried))
        raise _error_of(answer.status, content)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
        data: bytes | None = None,
        content_type: str = _JSON,
    ) -> aiohttp.ClientResponse:
        """The begun answer. Where the credentials are not valid any more, they are read again and it is tried again."""
        if self._session is None:
            raise EngineUnavailable("the API server is not asked any more: the connection is closed")
        refused = None
        while True:
            self.requests += 1
            proof = await self._credentials.header(refused=refused)
            headers = {"Content-Type": content_type, "Accept": _JSON}
            if proof is not None:
                headers["Authorization"] = proof
            answer = await self._session.request(
                method,
                self._credentials.server + path,
                params=query,
                data=data,
                headers=headers,
                timeout=timeout,
                ssl=self._credentials.tls or True,
                allow_redirects=False,
            )
            if answer.status != 401 or proof is None or proof == refused:
                return answer
            answer.close()
            refused = proof

    def _unreachable(self, error: BaseException) -> EngineUnavailable:
        if isinstance(error, TimeoutError):
            reason = "it did not answer in time"
        elif isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or str(error.os_error)
        else:
            reason = str(error) or type(error).__name__
        return EngineUnavailable(f"the API server {self._credentials.server} cannot be reached: {reason}")


async def _body_of(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            answer.close()
            raise EngineUnavailable(f"an answer of the API server is longer than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(content)


def _decoded(content: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except msgspec.DecodeError as error:
        raise EngineUnavailable(f"the API server has answered what is no {type_.__name__}: {error}") from None


def _error_of(status: int, content: bytes) -> ApiError | EngineUnavailable:
    try:
        refusal = msgspec.json.decode(content, type=_Refusal)
    except msgspec.DecodeError:
        refusal = _Refusal(message=content[:MAX_MESSAGE_CHARACTERS].decode(errors="replace"))
    message = refusal.message[:MAX_MESSAGE_CHARACTERS] or f"HTTP status {status}"
    if status in (401, 429) or status >= 500:
        return EngineUnavailable(f"the API server cannot do it now: {message} ({status})")
    return _KINDS.get(status, ApiError)(status, refusal.reason, message)


def _pause(retry_after: str, tried: int) -> float:
    """As long as the API server asks for, within limits; a little more, so that not all come back at once."""
    seconds = float(retry_after) if retry_after.isdecimal() else 0.5 * 2**tried
    return min(seconds, MAX_BUSY_SECONDS) + _RANDOM.uniform(0, 0.5)


async def granted(request: Awaitable[T], *expected: type[ApiError]) -> T:
    """What it returns. A refusal that is not expected is an EngineUnavailable: rights can be mended while one waits."""
    try:
        return await request
    except expected:
        raise
    except ApiError as error:
        raise EngineUnavailable(f"the API server refuses it: {error}") from None


def error_of_event(content: bytes) -> ApiError | EngineUnavailable:
    """The error in a watch whose event says that it cannot go on."""

    class Coded(_Refusal):
        code: int = 500

    try:
        refusal = msgspec.json.decode(content, type=Coded)
    except msgspec.DecodeError:
        return EngineUnavailable(f"a watch has ended with {shown(content[:100].decode(errors='replace'))}")
    return _error_of(refusal.code, content)
