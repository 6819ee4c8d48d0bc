"""Receives progress reports of programs, on a listener of its own, without TLS; on loopback unless told otherwise.

A party's URL holds a secret of its present run. Without the right secret the answer shows nothing, not even whether the
task exists.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from msgspec import Struct

from kusciajob.api.gate import BodyBudget, LimitReached
from kusciajob.api.http.connections import ConnectionLimits, HttpListener
from kusciajob.api.http.messages import Refused, check_browser, read_body, refusal
from kusciajob.api.port_file import read_port, write_port
from kusciajob.contracts import PartyKey, PartySpec
from kusciajob.security.browser import LOOPBACK_ONLY, BrowserRules
from kusciajob.security.progress import ProgressSecrets

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
ANY_HOST = "0.0.0.0"  # noqa: S104 - on request, for programs on other machines; each run has a secret
PATH = "/report/progress"
MAX_BODY_BYTES = 4096
WRONG_TOKEN = "the token is not that of a party's present run: report to the URL in its TASK_PROGRESS_URL, as it is"  # noqa: S105
MAX_BODIES_BYTES = 4 << 20
STOP_GRACE_SECONDS = 2.0


class _Report(Struct, frozen=True):
    progress: float


class ProgressListener:
    """Takes `POST /report/progress?task_id=…&token=…` with `{"progress": 0.42}`, the form of Kuscia's reporter.

    `report` returns False if the run is over. Programs outlive the server and keep their URL, so a file keeps the port.
    """

    def __init__(
        self,
        report: Callable[[PartyKey, float], bool],
        *,
        secrets: ProgressSecrets,
        port_file: Path,
        connections: ConnectionLimits | None = None,
        address: str = "",
    ) -> None:
        """`address`: HOST:PORT under which programs elsewhere reach it; it listens on that port of all addresses."""
        self._address = address
        self._rules = (
            BrowserRules(hosts=(address.rpartition(":")[0].strip("[]").lower(),)) if address else LOOPBACK_ONLY
        )
        self._report = report
        self._secrets = secrets
        self._port = 0
        self._port_file = port_file
        self._bodies = BodyBudget(in_all=MAX_BODIES_BYTES)
        self._listener = HttpListener(self._serve, limits=connections, stop_grace_seconds=STOP_GRACE_SECONDS)

    async def start(self) -> None:
        """Listen, on the same port as last time if it is free. Raises AddressInUse if a port was asked for."""
        if self._address:
            self._port = await self._listener.start(ANY_HOST, int(self._address.rpartition(":")[2]))
            return
        last = read_port(self._port_file)
        try:
            self._port = await self._listener.start(HOST, last)
        except OSError as error:
            logger.warning(
                "progress reports: another port than %d, which programs were given: %s", last, error.strerror
            )
            self._port = await self._listener.start(HOST, 0)
        if self._port != last:
            write_port(self._port_file, self._port)

    def url(self, party: PartySpec) -> str:
        """The URL for reports of one run of a party."""
        query = urlencode({"task_id": party.task_id, "token": self._secrets.token(party.key, party.task_id)})
        return f"http://{self._address or f'{HOST}:{self._port}'}{PATH}?{query}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._listener.stop()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            check_browser(request, self._rules, is_change=True)
        except Refused as refused:
            return refusal(refused)
        if request.path != PATH or request.method != "POST":
            return _answer(404, f"there is only POST {PATH}")
        party = self._secrets.verify(request.query.get("token", ""), request.query.get("task_id", ""))
        if party is None:
            return _answer(403, WRONG_TOKEN)
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
        if not self._report(party, progress):
            return _answer(403, WRONG_TOKEN)
        return _answer(200, "success")


def _answer(status: int, message: str) -> web.Response:
    body = {"status": {"code": 0 if status == 200 else status, "message": message}}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
