"""Requests and answers over HTTP: their encoding, their size, and the answer to a refused request."""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob.api.calls.encoded import EncodedResponse
from kusciajob.api.decoding import BIG_BYTES, decode_beside, parse_protobuf
from kusciajob.model.errors import Problem
from kusciajob.model.text import shown
from kusciajob.security.browser import BrowserRules, ForeignHost, ForeignPage
from kusciajob.wire import rich_status
from kusciajob.wire.bounds import TooManyElements
from kusciajob.wire.json import JsonError, from_json, to_json
from kusciajob.wire.status import Code

BODY_SECONDS = 300
"""How long a request's body may take to arrive."""
MAX_INFLATION = 200
"""How many times larger than it came a body may become, beyond INFLATED_BYTES."""
INFLATED_BYTES = 4 << 20

JSON_TYPE = "application/json; charset=utf-8"
PROTOBUF_TYPE = "application/x-protobuf"
_PROTOBUF_TYPES = frozenset({PROTOBUF_TYPE, "application/protobuf", "application/vnd.google.protobuf"})

_REASONS: Mapping[HTTPStatus, str] = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.FORBIDDEN: "NOT_ALLOWED",
    HTTPStatus.NOT_FOUND: "NO_SUCH_PATH",
    HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    HTTPStatus.TOO_MANY_REQUESTS: "LIMIT_REACHED",
    HTTPStatus.INTERNAL_SERVER_ERROR: "UNEXPECTED",
    HTTPStatus.SERVICE_UNAVAILABLE: "SERVER_STOPPING",
}

_CHARSET = re.compile(r'(?:^|;)\s*charset\s*=\s*"?([^\s";]{0,40})', re.IGNORECASE)

_Message = TypeVar("_Message", bound=Message)


class Refused(Exception):
    """The request is refused, with an HTTP status and a text that says why."""

    def __init__(
        self,
        http_status: HTTPStatus,
        text: str,
        *,
        code: Code = Code.INVALID_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.code = code
        self.headers = headers or {}


class Unreadable(Exception):
    """The body is not the message of the path; the text says what it should be. `problem` is the field's, if any."""

    def __init__(self, text: str, problem: Problem | None = None) -> None:
        super().__init__(text)
        self.problem = problem


class Encoding(Struct, frozen=True):
    """A form of messages in bodies."""

    name: str
    content_type: str
    parse: Callable[[bytes, type[Any]], Any]
    serialize: Callable[[Message | EncodedResponse], bytes]

    async def read(self, body: bytes, kind: type[_Message]) -> _Message:
        """The message; an empty body is the empty message. Raises Unreadable."""
        if not body:
            return kind()
        try:
            if len(body) > BIG_BYTES:
                return await decode_beside(self.parse, body, kind)
            message: _Message = self.parse(body, kind)
        except (JsonError, DecodeError, TooManyElements) as error:
            name = kind.DESCRIPTOR.name
            problem = Problem(error.path, error.text) if isinstance(error, JsonError) and error.path else None
            raise Unreadable(f"the body cannot be read as {name} in {self.name}: {error}", problem) from None
        return message

    def answer(self, message: Message | EncodedResponse) -> web.Response:
        """The message as a whole body."""
        return web.Response(body=self.serialize(message), headers={"Content-Type": self.content_type})


def _to_protobuf(message: Message | EncodedResponse) -> bytes:
    return message.SerializeToString()


def _to_json(message: Message | EncodedResponse) -> bytes:
    return message.to_json() if isinstance(message, EncodedResponse) else to_json(message)


JSON = Encoding("JSON", JSON_TYPE, from_json, _to_json)
PROTOBUF = Encoding("binary protobuf", PROTOBUF_TYPE, parse_protobuf, _to_protobuf)


def encoding_of(request: web.BaseRequest) -> Encoding:
    """Binary where Content-Type says so. Anything else is JSON: curl's own default type, for one, comes with JSON."""
    content_type, _, parameters = request.headers.get("Content-Type", "").partition(";")
    if content_type.strip().lower() in _PROTOBUF_TYPES:
        return PROTOBUF
    charset = _CHARSET.search(parameters)
    if charset is None or charset[1].lower() in ("utf-8", "utf8"):
        return JSON
    return msgspec.structs.replace(JSON, parse=partial(_parse_ascii, charset[1]))


def _parse_ascii(charset: str, body: bytes, kind: type[_Message]) -> _Message:
    """JSON that is said to be in another encoding than UTF-8: read where that makes no difference, as clients say so
    without a thought."""
    if body.isascii():
        return from_json(body, kind)
    place = next(index for index, byte in enumerate(body) if byte > 0x7F)
    raise JsonError(f"Content-Type says charset {shown(charset)}, and byte {place} is not ASCII: send UTF-8")


def certificate_of(request: web.BaseRequest) -> bytes:
    """The client's certificate, PEM; empty where the protocol asks for none."""
    connection = request.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) if connection is not None else None
    return ssl.DER_cert_to_PEM_cert(certificate).encode() if certificate else b""


def check_browser(request: web.BaseRequest, rules: BrowserRules, *, is_change: bool) -> None:
    """Raise Refused if a foreign web page made the request, or if it was made to a foreign host name."""
    headers = request.headers
    hosts = headers.getall("Host", ())
    try:
        rules.check_host(hosts)
        if is_change and ("Origin" in headers or "Sec-Fetch-Site" in headers):
            origins, sites = headers.getall("Origin", ()), headers.getall("Sec-Fetch-Site", ())
            rules.check_change(hosts=hosts, origins=origins, sites=sites)
    except ForeignHost as error:
        raise Refused(HTTPStatus.MISDIRECTED_REQUEST, str(error)) from None
    except ForeignPage as error:
        raise Refused(HTTPStatus.FORBIDDEN, str(error), code=Code.NOT_ALLOWED) from None


async def meet_expectation(request: web.BaseRequest) -> None:
    """Send `100 Continue` to a client that waits for it. Raises Refused if it expects something else."""
    expected = request.headers.get("Expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise Refused(
            HTTPStatus.EXPECTATION_FAILED,
            "the header Expect can be met where it is 100-continue only",
            headers={"Connection": "close"},
        )
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # it is no answer yet


async def read_body(request: web.BaseRequest, *, max_bytes: int, take: Callable[[int], None]) -> bytes:
    """The whole body, decompressed. Each byte is taken from the budget first.

    Raises Refused if the body is too large, broken, a decompression bomb, or slower than BODY_SECONDS; LimitReached.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                take(len(chunk))
                body += chunk
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                if len(body) > INFLATED_BYTES:
                    _check_inflation(request, len(body))
                    await asyncio.sleep(0)  # decompressed data comes without a pause
    except TimeoutError:
        raise _bad(f"the body did not arrive within {BODY_SECONDS} s") from None
    except (web.RequestPayloadError, ValueError):
        raise _bad("the body breaks off or is not encoded as its headers say") from None
    return bytes(body)


def refusal(refused: Refused) -> web.Response:
    """An ErrorResponse, always in JSON."""
    response = web.Response(
        status=refused.http_status,
        body=to_json(common_pb2.ErrorResponse(status={"code": refused.code, "message": str(refused)})),
        headers={"Content-Type": JSON_TYPE, **refused.headers},
    )
    if refused.headers.get("Connection") == "close":
        response.force_close()
    return response


def rich_refusal(refused: Refused) -> web.Response:
    """The same on a path of kusciajob.v1: `{"error": {...}}`."""
    told = rich_status.status(
        rich_status.code_of_http(refused.http_status),
        str(refused),
        reason=_REASONS.get(refused.http_status, "INVALID_REQUEST"),
        kuscia_code=refused.code,
    )
    return rich_answer(told, refused.http_status, headers=refused.headers)


def rich_answer(
    told: status_pb2.Status, http_status: HTTPStatus | None = None, *, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A status as an answer."""
    headers = headers or {}
    response = web.Response(
        status=http_status or rich_status.HTTP_STATUSES[told.code],
        body=rich_status.error_json(told, http_status),
        headers={"Content-Type": JSON_TYPE, **headers},
    )
    if headers.get("Connection") == "close":
        response.force_close()
    return response


def _check_inflation(request: web.BaseRequest, size: int) -> None:
    came = request.content.total_compressed_bytes
    if came is not None and size > came * MAX_INFLATION:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body inflates to more than {MAX_INFLATION} times its size: send it without Content-Encoding",
            headers={"Connection": "close"},
        )


def _bad(text: str) -> Refused:
    # The rest of the body would be read as the next request.
    return Refused(HTTPStatus.BAD_REQUEST, text, headers={"Connection": "close"})


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is too large: at most {max_bytes} bytes (max_message_mib)",
        headers={"Connection": "close"},
    )
