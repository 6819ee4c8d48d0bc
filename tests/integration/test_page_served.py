"""The page is served to browsers: under a strict policy, without a token, kept for ever but for its HTML."""

import asyncio
import gzip
import http.client
import re
from collections.abc import Mapping
from pathlib import Path

from tests.support.polling import PATIENCE_SECONDS
from tests.support.secured import secured_server
from tests.support.server import RunningServer

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def get(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] = {}, *, method: str = "GET"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    def ask() -> tuple[int, http.client.HTTPMessage, bytes]:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()

    return await asyncio.to_thread(ask)


async def test_the_html_is_asked_for_each_time_and_what_it_names_is_kept(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.http_address, timeout=PATIENCE_SECONDS)
    status, headers, body = await get(connection, "/ui/?job=any")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "text/html; charset=utf-8", "no-cache")
    again = await get(connection, "/ui/", {"If-None-Match": headers["ETag"]})
    assert (again[0], again[2]) == (304, b"")
    for name in re.findall(r'(?:src|href)="([^"]+)"', body.decode()):
        status, headers, plain = await get(connection, f"/ui/{name}")
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        _, headers, packed = await get(connection, f"/ui/{name}", {"Accept-Encoding": "gzip, br"})
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == plain
    connection.close()


async def test_every_answer_of_the_page_has_the_policy(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.http_address, timeout=PATIENCE_SECONDS)
    _, headers, body = await get(connection, "/ui/")
    names = re.findall(r'src="([^"]+)"', body.decode())
    for path in ("/ui/", "/ui", f"/ui/{names[0]}"):
        _, headers, _ = await get(connection, path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    connection.close()


async def test_a_browser_is_led_to_the_page_and_a_program_is_not(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.http_address, timeout=PATIENCE_SECONDS)
    status, headers, _ = await get(connection, "/", BROWSER)
    assert (status, headers["Location"]) == (302, "/ui/")
    assert (await get(connection, "/"))[0] == 404
    assert (await get(connection, "/ui"))[0] == 302
    for path in ("/ui/nothing", "/ui/../etc/passwd", "/ui/%2e%2e/jobs", "/ui//"):
        assert (await get(connection, path))[0] == 404
    status, headers, _ = await get(connection, "/ui/", method="POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    connection.close()


async def test_the_page_needs_no_token_and_what_it_shows_does(tmp_path: Path) -> None:
    async with secured_server(tmp_path, protocol="tls") as place:
        connection = place.master.connect_http(place.http_address)
        assert (await get(connection, "/ui/"))[0] == 200
        assert (await get(connection, "/", BROWSER))[0] == 302
        assert (await get(connection, "/v1/jobs"))[0] == 401
        connection.close()


async def test_the_page_is_told_under_our_own_names_only(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.http_address, timeout=PATIENCE_SECONDS)
    assert (await get(connection, "/ui/", {"Host": "rebound.evil.example"}))[0] == 421
    connection.close()
