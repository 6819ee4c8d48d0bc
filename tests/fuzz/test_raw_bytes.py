"""Bytes that are no requests, to every method and path; the server answers afterwards as before."""

from collections.abc import Iterator
from typing import Literal

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.routes import ROUTES, Route
from tests.fuzz import strategies
from tests.fuzz.budget import examples
from tests.fuzz.edge import Edge
from tests.support.callers import API, GRPC_OPERATIONS
from tests.support.requests import job_request

pytestmark = pytest.mark.hostile

# The rest are served by grpcio's own code, and answer UNKNOWN.
OWN_OPERATIONS = [operation for operation in GRPC_OPERATIONS if not operation.startswith("/grpc.")]
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"]
TYPES = [
    "application/json",
    "application/x-protobuf",
    "APPLICATION/X-PROTOBUF; charset=utf-8",
    "text/plain",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    ";;;",
    "application/json; charset=utf-16",
    "",
]
ENCODINGS = ["", "gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "nonsense"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Edge(tmp_path_factory.mktemp("raw"), max_message_mib=1) as edge:
        created = edge.call(f"/{API}.JobService/CreateJob", job_request("there"), pb.CreateJobResponse)
        assert created.status.code == 0  # a watch of no jobs at all has nothing to say
        yield edge


@st.composite
def broken_messages(draw: st.DrawFn) -> bytes:
    """Garbage, or a good message with a few bytes changed, cut off or added."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    data = bytearray(draw(strategies.jobs).SerializeToString()[:20_000])
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(data)))
        data[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def repeated(piece: bytes) -> bytes:
    return piece * 5_000


@examples(50)
@given(operation=st.sampled_from(OWN_OPERATIONS), data=broken_messages())
def test_garbage_over_grpc(edge: Edge, operation: str, data: bytes) -> None:
    code, answers = edge.call_bytes(operation, data)
    assert code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED), (operation, code)
    if operation.endswith("JobService/CreateJob") and code is grpc.StatusCode.OK:
        assert pb.CreateJobResponse.FromString(answers[0]).status.code in (0, 11100, 11201)
    edge.check()


@examples(50)
@given(
    route=st.sampled_from(ROUTES),
    content_type=st.sampled_from(TYPES),
    encoding=st.sampled_from(ENCODINGS),
    body=broken_messages() | st.text(max_size=50).map(str.encode) | st.sampled_from([b"[", b'{"a":']).map(repeated),
)
def test_garbage_over_http(edge: Edge, route: Route, content_type: str, encoding: str, body: bytes) -> None:
    headers = {"Content-Type": content_type} | ({"Content-Encoding": encoding} if encoding else {})
    answer = edge.http("POST", route.path, body, headers)
    # Garbage can also be what unpacks to too much.
    assert answer.status in (200, 400, 413), answer
    assert b"Traceback" not in answer.body
    edge.check()


@examples(40)
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from([route.path for route in ROUTES])
    | st.text(st.characters(codec="ascii", exclude_characters="\r\n #?"), max_size=20).map("/".__add__)
    | st.sampled_from(["/api/v1/job/%2e%2e/create", "//api/v1/job/create", "/healthZ/", "/" + "a" * 9000, "/%00", "*"]),
    header=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40),
)
def test_any_method_path_and_header(edge: Edge, method: str, path: str, header: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Any: {header}\r\nConnection: close\r\n\r\n"
    is_watch = path == "/api/v1/job/watch" and method == "POST"
    answer = edge.exchange([head.encode("latin-1")], then="leave" if is_watch else "wait")
    if not is_watch:
        assert answer.startswith(b"HTTP/1.") or (method == "CONNECT" and not answer), answer[:200]
        assert answer[9:12] != b"500", answer
    edge.check()


@examples(40)
@given(pieces=st.lists(st.binary(max_size=40), max_size=4), then=st.sampled_from(["end", "leave"]))
def test_what_is_no_http(edge: Edge, pieces: list[bytes], then: Literal["end", "leave"]) -> None:
    answer = edge.exchange(pieces, then=then)
    assert not answer.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500")), answer
    edge.check()


@examples(40)
@given(
    route=st.sampled_from([route for route in ROUTES if not route.is_stream]),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    missing=st.integers(0, 1000),
    then=st.sampled_from(["end", "leave"]),
)
def test_a_body_that_comes_in_pieces_and_never_ends(
    edge: Edge, route: Route, sizes: list[int], missing: int, then: Literal["end", "leave"]
) -> None:
    is_chunked = not missing
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {sum(sizes) + missing}"
    head = f"POST {route.path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode()
    pieces = [b"%x\r\n%s\r\n" % (size, b" " * size) if is_chunked else b" " * size for size in sizes]
    answer = edge.exchange([head, *pieces], then=then)
    assert b" 500 " not in answer[:20], answer
    edge.check()


def test_many_half_open_requests_do_not_keep_others_out(edge: Edge) -> None:
    async def hold() -> int:
        connections = [await edge.connect() for _ in range(50)]
        for _, writer in connections:
            writer.write(b"POST /api/v1/job/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            await writer.drain()
        answer = await edge.fetch("POST", "/healthZ", b"", {})
        for _, writer in connections:
            writer.close()
        return answer.status

    assert edge.run(hold()) == 200
    edge.check()


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_too_much_is_refused_on_both_ports(edge: Edge, kind: str) -> None:
    request = pb.StopJobRequest(job_id="a", reason="x" * (1 << 20))
    code, _ = edge.call_bytes(f"/{API}.JobService/StopJob", request.SerializeToString())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    body = request.SerializeToString() if "protobuf" in kind else b"[" * (2 << 20)
    assert edge.http("POST", "/api/v1/job/stop", body, {"Content-Type": kind}).status == 413
    edge.check()
