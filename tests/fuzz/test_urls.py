"""URLs that attackers write, to every path of kusciajob.v1: each is answered in the form of the package."""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kusciajob.api.http.parameters import is_parameter
from kusciajob.api.routes import V1_ROUTES, Route
from kusciajob.model.text import CONTROL
from tests.fuzz.budget import examples
from tests.fuzz.edge import Edge

pytestmark = pytest.mark.hostile

NASTY = [
    "",
    "\0",
    "\r\nSet-Cookie: a=b",
    "../../etc/passwd",
    "%",
    "%zz",
    "%00",
    "%c0%af",
    "%ff",
    "%ed%a0%80",
    "%25%32%65",
    "'; DROP TABLE job; --",
    "{{7*7}}",
    "true",
    "-1",
    "9" * 400,
    "1e309",
    "NaN",
    "2026-11-27T10:59:38Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "雪",
    "\u202e",
    "a" * 4000,
]
# Not what ends the line or a part of it; everything else as it is.
RAW = st.text(st.characters(codec="utf-8", exclude_characters="\r\n #?\t\x0b\x0c"), max_size=30)
VALUES = (
    st.sampled_from(NASTY).map(quote)
    | st.sampled_from(NASTY).map(quote_plus)
    | st.text(max_size=20).map(quote)
    | RAW
    | st.sampled_from(["%zz", "%", "%f", "%ff", "%c3%28", "%00", "%0d%0a", "a%2Fb", "..%2f..", "+"])
)


@st.composite
def urls(draw: st.DrawFn) -> tuple[Route, str]:
    """A route, and a URL for it with parameters of its own and others, in any order and number."""
    route = draw(st.sampled_from(V1_ROUTES))
    path = re.sub(r"\{\w+\}", lambda _: draw(VALUES).replace("/", "%2F") or "x", route.path)
    own = [
        name for field in route.call.input_type.fields if is_parameter(field) for name in (field.name, field.json_name)
    ]
    names = (st.sampled_from(own) | VALUES) if own else VALUES
    pairs = draw(st.lists(st.tuples(names, st.sampled_from(["=", "", "=="]), VALUES).map("".join), max_size=5))
    return route, f"{path}?{'&'.join(pairs)}" if pairs else path


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Edge(tmp_path_factory.mktemp("urls"), max_message_mib=1) as edge:
        yield edge


@examples(80)
@given(url=urls())
@example((V1_ROUTES[0], "/v1/jobs?" + "&".join(f"states=a{index}" for index in range(800))))
@example((V1_ROUTES[0], "/v1/jobs?" + "&" * 7000))
@example((V1_ROUTES[0], "/v1/jobs?page_size=1#fragment"))
@example((V1_ROUTES[1], "/v1/jobs/%2e%2e"))
@example((V1_ROUTES[1], "/v1/jobs/" + "a" * 8000))
def test_any_url_is_answered_in_the_form_of_the_package(edge: Edge, url: tuple[Route, str]) -> None:
    route, target = url
    body = "{}" if route.has_body else ""
    head = (
        f"{route.http_methods[0]} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    if route.is_stream:
        edge.exchange([head.encode()], then="leave")
        edge.check()
        return
    answer = edge.exchange([head.encode()], then="wait")
    first, _, content = answer.partition(b"\r\n\r\n")
    status = int(first.split(b" ", 2)[1])
    assert status in (200, 400, 403, 404, 409, 414, 431), answer[:300]
    assert b"Set-Cookie" not in first
    assert len(answer) < 40_000
    told = json.loads(content)
    if "error" in told:
        assert not CONTROL.search(told["error"]["message"])
    else:
        # What is no HTTP at all is told before its path is known.
        assert status == 200 or set(told) == {"status"}
    edge.check()
