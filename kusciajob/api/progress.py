"""Where the programs of tasks report how far they are: a listener of its own, on loopback, without TLS or tokens."""

import contextlib
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from kusciajob.api.gate import BodyBudget, LimitReached
from kusciajob.api.http_connections import ConnectionLimits, HttpListener
from kusciajob.api.http_messages import Refused, read_body, refusal
from kusciajob.model.errors import JobError

HOST = "127.0.0.1"
PATH = "/report/progress"
MAX_BODY_BYTES = 4096
MAX_BODIES_BYTES = 4 << 20
STOP_GRACE_SECONDS = 2.0


class _Report(Struct, frozen=True):
    progress: float


class ProgressListener:
    """Takes `POST /report/progress?task_id=…` with `{"progress": 0.42}`, the form of Kuscia's reporter.

    Programs outlive the server and keep the address they were given, so its port is kept in a file.
    """

    def __init__(
        self,
        report: Callable[[str, float], Awaitable[None]],
        port_file: Path,
        connections: ConnectionLimits | None = None,
    ) -> None:
        self._report = report
        self._port_file = port_file
        self._bodies = BodyBudget(in_all=MAX_BODIES_BYTES)
        self._listener = HttpListener(self._serve, limits=connections, stop_grace_seconds=STOP_GRACE_SECONDS)

    async def start(self) -> str:
        """Listen, on the same port as last time if it is still free; return the URL, which lacks the task's id."""
        try:
            port = await self._listener.start(HOST, self._last_port())
        except OSError:
            port = await self._listener.start(HOST, 0)
        self._port_file.write_text(f"{port}\n")
        return f"http://{HOST}:{port}{PATH}?task_id="

    async def stop(self) -> None:
        """Take no more reports."""
        await self._listener.stop()

    def _last_port(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self._port_file.read_text())
        return 0

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PATH or request.method != "POST":
            return _answer(404, f"there is only POST {PATH}")
        task_id = request.query.get("task_id", "")
        try:
            with self._bodies.hold("") as take:
                body = await read_body(request, max_bytes=MAX_BODY_BYTES, take=take)
        except LimitReached as error:
            return _answer(429, str(error))
        except Refused as refused:
            return refusal(refused)
        try:
            progress = msgspec.json.decode(body, type=_Report).progress
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _answer(400, f'expected {{"progress": <number from 0 to 1>}}: {error}')
        if not (math.isfinite(progress) and 0 <= progress <= 1):
            return _answer(400, f"progress {progress} is out of range: 0 to 1")
        try:
            await self._report(task_id, progress)
        except JobError as error:
            return _answer(404, str(error))
        return _answer(200, "success")


def _answer(status: int, message: str) -> web.Response:
    body = {"status": {"code": 0 if status == 200 else status, "message": message}}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
