"""Where the programs of tasks report how far they are: a listener of its own, on loopback, without TLS or tokens."""

import logging
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from kusciajob.api.port_file import read_port, write_port
from kusciajob.model.errors import JobError

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
PATH = "/report/progress"
MAX_BODY_BYTES = 4096


class _Report(Struct, frozen=True):
    progress: float


class ProgressListener:
    """Takes `POST /report/progress?task_id=…` with `{"progress": 0.42}`, the form of Kuscia's reporter.

    Programs outlive the server and keep the address they were given, so its port is kept in a file.
    """

    def __init__(self, report: Callable[[str, float], Awaitable[None]], port_file: Path) -> None:
        self._report = report
        self._port_file = port_file
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_post(PATH, self._serve)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> str:
        """Listen, on the same port as last time if it is still free; return the URL, which lacks the task's id."""
        await self._runner.setup()
        last = read_port(self._port_file)
        try:
            await web.TCPSite(self._runner, HOST, last).start()
        except OSError as error:
            logger.warning(
                "progress reports: another port than %d, which programs were given: %s", last, error.strerror
            )
            await web.TCPSite(self._runner, HOST, 0).start()
        port = int(self._runner.addresses[0][1])
        if port != last:
            write_port(self._port_file, port)
        return f"http://{HOST}:{port}{PATH}?task_id="

    async def stop(self) -> None:
        """Take no more reports."""
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        task_id = request.query.get("task_id", "")
        try:
            progress = msgspec.json.decode(await request.read(), type=_Report).progress
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
