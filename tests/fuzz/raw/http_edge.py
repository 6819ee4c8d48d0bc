"""The HTTP edge without its sockets: two bytes choose a path and how the body is written, the rest is the body."""

import gzip
import http.client
import io
import zlib
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.common_pb2 import ErrorResponse
from kusciajob.api.http.messages import JSON_TYPE, PROTOBUF_TYPE
from kusciajob.api.routes import ROUTES, Route
from tests.fuzz.raw.contract import UNREADABLE, check_answer
from tests.fuzz.raw.http_connection import opened_connection
from tests.fuzz.raw.requests import good_requests
from tests.fuzz.raw.world import finish


class Form(Struct, frozen=True):
    """How a body is written."""

    type: str
    coding: str = "identity"


FORMS = (Form(JSON_TYPE), Form(PROTOBUF_TYPE), Form(JSON_TYPE, "gzip"), Form(PROTOBUF_TYPE, "deflate"))
_ENCODERS: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}


class Answer(Struct, frozen=True):
    """What came back."""

    route: Route
    form: Form
    status: int
    type: str
    body: bytes

    @property
    def messages(self) -> list[Any]:
        """One; of a stream any number."""
        if self.route.is_stream:
            return [json_format.Parse(line, self.route.response()) for line in self.body.splitlines()]
        if self.type == PROTOBUF_TYPE:
            return [self.route.response.FromString(self.body)]
        return [json_format.Parse(self.body, self.route.response())]


class _Received:
    """What HTTPResponse needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def run(data: bytes) -> None:
    """An answer of the contract in the form of the request, or 400 or 413 where there can be reason for it."""
    answer = ask(data)
    if answer.status != 200:
        _check_refusal(answer)
        return
    assert answer.type == (JSON_TYPE if answer.route.is_stream else answer.form.type)
    assert answer.messages
    for message in answer.messages:
        if answer.route.name != "WatchJob" and message.status.code == UNREADABLE:
            assert message.status.message.startswith("the body cannot be read as"), message
        else:
            check_answer(answer.route.call, message)


def ask(data: bytes) -> Answer:
    """The whole answer; of an endless one the beginning."""
    chosen, how, *_ = *data[:2], 0, 0
    route, form = ROUTES[chosen % len(ROUTES)], FORMS[how % len(FORMS)]
    response = http.client.HTTPResponse(_Received(finish(_exchange(route, form, data[2:]))))  # type: ignore[arg-type]
    response.begin()
    try:
        body = response.read()
    except http.client.IncompleteRead as error:
        assert route.is_stream
        body = error.partial
    return Answer(route, form, response.status, response.headers["Content-Type"], body)


def seeds() -> list[bytes]:
    places = {route.name: number for number, route in enumerate(ROUTES)}
    texts = [
        (name, number, _ENCODERS[form.coding](_serialized(request, form)))
        for name, request in good_requests()
        for number, form in enumerate(FORMS)
    ]
    details = '{"header": null, "jobIds": ["\\u0041", 1], "status": {"details": [{"@type": "x"}]}, "more": [1.5e3, {}]}'
    return [
        *(bytes((places[name], number)) + body for name, number, body in texts),
        *(bytes((place, 0)) + details.encode() for place in places.values()),
    ]


async def _exchange(route: Route, form: Form, body: bytes) -> bytes:
    head = (
        f"POST {route.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {form.type}\r\n"
        f"Content-Encoding: {form.coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with opened_connection() as connection:
        connection.send(head.encode() + body)
        await connection.wait_closed()
        return bytes(connection.received)


def _check_refusal(answer: Answer) -> None:
    assert answer.status in (400, 413), answer
    is_compressed = answer.form.coding != "identity"
    assert answer.status == 413 or answer.route.name == "WatchJob" or is_compressed, answer
    if answer.type == JSON_TYPE:
        assert json_format.Parse(answer.body, ErrorResponse()).status.message
    else:
        assert is_compressed, "aiohttp itself refuses only a coding that is broken from the start"


def _serialized(request: Any, form: Form) -> bytes:
    if form.type == PROTOBUF_TYPE:
        return bytes(request.SerializeToString())
    return json_format.MessageToJson(request, indent=None).encode()
