"""An API server of a cluster that lists and watches pods, as hostile as a test wants it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATUS = {"kind": "Status", "apiVersion": "v1"}


def pod(name: str, version: int, **status: Any) -> dict[str, Any]:
    """A pod as it comes from the API server."""
    own = {"name": name, "namespace": "alice", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": own, "spec": {"containers": []}, "status": status or {"phase": "Running"}}


def refusal(code: int, reason: str = "", message: str = "", **headers: str) -> web.Response:
    return web.json_response(
        {**STATUS, "code": code, "reason": reason, "message": message}, status=code, headers=headers
    )


class HostileApiServer:
    """Pods are what `pods` has. A watch tells what is put into `changes`; None ends it."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.version = 1
        self.changes: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.answers: list[Answer] = []
        """What the next requests get instead, whatever they ask."""
        self.requests: list[web.Request] = []
        self.url = ""

    def put(self, name: str) -> None:
        """A pod is made, or changed, without a word to watchers."""
        self.version += 1
        self.pods[name] = pod(name, self.version)

    def tell(self, kind: str, content: dict[str, Any]) -> None:
        self.changes.put_nowait({"type": kind, "object": content})

    def asked(self, name: str, value: str = "") -> list[web.Request]:
        """The requests that had that in their query."""
        return [each for each in self.requests if each.query.get(name) and value in each.query[name]]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.answers:
            return await self.answers.pop(0)(request)
        if request.query.get("watch"):
            return await self._watch(request)
        names = sorted(self.pods)
        at, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "1000"))
        more = {"continue": str(at + limit)} if at + limit < len(names) else {}
        items = [self.pods[name] for name in names[at : at + limit]]
        return web.json_response({"metadata": {"resourceVersion": str(self.version), **more}, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (change := await self.changes.get()) is not None:
            await answer.write(json.dumps(change).encode() + b"\n")
        return answer


@asynccontextmanager
async def hostile_api_server() -> AsyncIterator[HostileApiServer]:
    server = HostileApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
