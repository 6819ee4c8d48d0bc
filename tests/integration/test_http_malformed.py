"""What is no HTTP request is refused as everything else is: an ErrorResponse, with nothing of what was sent."""

import asyncio
import json

from tests.support.polling import PATIENCE_SECONDS
from tests.support.server import RunningServer

SECRET = b"s3cr3t-t0k3n"
POST = b"POST /healthZ HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "space before the colon": (b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\nToken : %s\r\n\r\n" % SECRET, 400),
    "control character": (b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\nToken: %s\x01\r\n\r\n" % SECRET, 400),
    "no colon": (b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\nToken %s\r\n\r\n" % SECRET, 400),
    "version": (b"GET /%s HTTP/x.y\r\n\r\n" % SECRET, 400),
    "method": (b"%s{} /healthZ HTTP/1.1\r\n\r\n" % SECRET, 400),
    "no HTTP": (b"\x16\x03\x01%s\r\n\r\n" % SECRET, 400),
    "path": (b"GET http://[%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % SECRET, 400),
    "long path": (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (SECRET * 1000), 431),
    "long header": (b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\nToken: %s\r\n\r\n" % (SECRET * 1000), 431),
    "long name": (b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\n%s: x\r\n\r\n" % (SECRET * 1000), 431),
    "many headers": (b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % ((b"X: %s\r\n" % SECRET) * 200), 400),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + SECRET, 400),
    "length and chunks": (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET, 400),
    "chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n" % SECRET, 400),
    "deflate": (POST + b"Content-Encoding: deflate\r\nContent-Length: 12\r\n\r\n" + SECRET, 400),
    "gzip": (POST + b"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n" + SECRET, 400),
    "brotli": (POST + b"Content-Encoding: br\r\nContent-Length: 12\r\n\r\n" + SECRET, 400),
    "expectation": (POST + b"Expect: %s\r\nContent-Length: 0\r\n\r\n" % SECRET, 417),
    "unknown path": (b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % SECRET, 404),
    "wrong method": (
        b"PUT /healthZ?%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % SECRET,
        405,
    ),
}


async def exchange(address: str, sent: bytes) -> bytes:
    """All that comes back on a connection of its own."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(-1), PATIENCE_SECONDS)
    finally:
        writer.close()


async def test_every_refusal_has_our_form_and_tells_nothing_of_what_was_sent(server: RunningServer) -> None:
    for name, (sent, status) in MALFORMED.items():
        answer = await exchange(server.http_address, sent)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status)), (name, answer)
        assert b"Content-Type: application/json; charset=utf-8" in head, (name, answer)
        error = json.loads(body)
        assert set(error) == {"status"}, (name, answer)
        assert set(error["status"]) == {"code", "message", "details"}, (name, answer)
        assert error["status"]["code"] == 11100, (name, answer)
        assert SECRET not in answer, (name, answer)
        assert b"Traceback" not in answer, (name, answer)
    log = server.log.read_bytes()
    assert SECRET not in log
    assert b"Traceback" not in log


async def test_the_port_for_progress_refuses_likewise(server: RunningServer) -> None:
    port = (server.data_dir / "progress.port").read_text().strip()
    for name in ("space before the colon", "deflate", "long header"):
        sent, status = MALFORMED[name]
        answer = await exchange(f"127.0.0.1:{port}", sent.replace(b"/healthZ", b"/report/progress"))
        assert b" %d " % status in answer.partition(b"\r\n")[0], (name, answer)
        assert "status" in json.loads(answer.partition(b"\r\n\r\n")[2])
        assert SECRET not in answer


async def test_who_waits_to_be_told_to_go_on_is_told(server: RunningServer) -> None:
    host, _, port = server.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert await reader.readline() == b"\r\n"
    writer.write(b"{}")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()
