"""An API server of a cluster without nodes: pods run for a while and succeed, and each run is counted."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from aiohttp import web

from tests.support.api_server import refusal

Thing = dict[str, Any]


class FakeCluster:
    """Objects by their paths. A released pod runs for so many seconds."""

    def __init__(self, *, least_seconds: float = 0.0, most_seconds: float = 2.0, seed: int = 1) -> None:
        self.runs: Counter[str] = Counter()
        """How often a pod of that name began to run."""
        self.url = ""
        self._seconds = least_seconds, most_seconds
        self._random = Random(seed)
        self._things: dict[str, Thing] = {}
        self._version = 1
        self._changes: list[tuple[int, str, str, Thing]] = []
        """Version, collection, type and object."""
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        _, _, rest = request.path.partition("/namespaces/")
        parts = rest.split("/") if rest else []
        if parts and parts[-1] == "log":
            text = "" if request.query.get("stream") == "Stderr" else "2026-01-01T00:00:00.000000001Z hello\n"
            return web.Response(text=text)
        if (request.method == "GET" and not parts) or len(parts) == 2:
            collection = parts[1] if parts else request.path.rpartition("/")[2]
            namespace = parts[0] if parts else ""
            if request.method == "POST":
                return self._create(request.path, collection, namespace, await request.json())
            if request.query.get("watch"):
                return await self._watch(request, collection, namespace)
            found = [thing for path, thing in self._things.items() if _is_in(path, collection, namespace)]
            items = [thing for thing in found if _matches(thing, request.query.get("labelSelector", ""))]
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        if request.method == "POST":  # a namespace
            return web.json_response(await request.json(), status=201)
        thing = self._things.get(request.path)
        if thing is None:
            return refusal(404, "NotFound", f"{request.path} not found")
        if request.method == "DELETE":
            return self._delete(request.path, thing, await request.json())
        if request.method == "PATCH":
            return self._patch(request.path, thing, await request.json())
        return web.json_response(thing)

    def _create(self, path: str, collection: str, namespace: str, manifest: Thing) -> web.Response:
        own = manifest["metadata"]
        path = f"{path}/{own['name']}"
        if path in self._things:
            return refusal(409, "AlreadyExists", f"{path} exists")
        uid = f"uid-{own['name']}-{self._version}"
        thing = {**manifest, "metadata": {**own, "namespace": namespace, "uid": uid}}
        if collection == "pods":
            thing["status"] = {"phase": "Pending"}
        self._put(path, "ADDED", thing)
        return web.json_response(thing, status=201)

    def _patch(self, path: str, thing: Thing, change: Thing) -> web.Response:
        if change.get("metadata", {}).get("uid") not in (None, thing["metadata"]["uid"]):
            return refusal(409, "Conflict", "another uid")
        spec = change.get("spec", {})
        if "schedulingGates" in spec and thing["spec"].pop("schedulingGates", None):
            self._do(self._run(path, thing["metadata"]["uid"]))
        if "activeDeadlineSeconds" in spec and thing["status"]["phase"] == "Running":
            self._end(path, thing, "Failed", 137)
        return web.json_response(thing)

    def _delete(self, path: str, thing: Thing, options: Thing) -> web.Response:
        if options.get("preconditions", {}).get("uid") not in (None, thing["metadata"]["uid"]):
            return refusal(409, "Conflict", "another uid")
        del self._things[path]
        self._note("DELETED", path, thing)
        return web.json_response(thing)

    async def _run(self, path: str, uid: str) -> None:
        thing = self._things[path]
        name = thing["metadata"]["name"]
        self.runs[name] += 1
        thing["spec"]["nodeName"] = "node-1"
        running = [{"name": each["name"], "state": {"running": {}}} for each in thing["spec"]["containers"]]
        self._change(path, thing, {"phase": "Running", "hostIP": "10.0.0.1", "containerStatuses": running})
        await asyncio.sleep(self._random.uniform(*self._seconds))
        thing = self._things.get(path, {})
        if thing and thing["metadata"]["uid"] == uid and thing["status"]["phase"] == "Running":
            self._end(path, thing, "Succeeded", 0)

    def _end(self, path: str, thing: Thing, phase: str, exit_code: int) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ended = {"terminated": {"exitCode": exit_code, "finishedAt": at}}
        statuses = [{"name": each["name"], "state": ended} for each in thing["spec"]["containers"]]
        self._change(path, thing, {"phase": phase, "hostIP": "10.0.0.1", "containerStatuses": statuses})

    def _change(self, path: str, thing: Thing, status: Thing) -> None:
        thing["status"] = status
        self._put(path, "MODIFIED", thing)

    def _put(self, path: str, kind: str, thing: Thing) -> None:
        self._things[path] = thing
        self._note(kind, path, thing)

    def _note(self, kind: str, path: str, thing: Thing) -> None:
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        self._changes.append((self._version, path, kind, json.loads(json.dumps(thing))))
        self._news.set()
        self._news.clear()

    async def _watch(self, request: web.Request, collection: str, namespace: str) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        seen, at = int(request.query["resourceVersion"]), 0
        with suppress(ConnectionError):
            while True:
                for version, path, kind, thing in self._changes[at:]:
                    at += 1
                    if version <= seen or not _is_in(path, collection, namespace):
                        continue
                    if _matches(thing, request.query.get("labelSelector", "")):
                        await answer.write(json.dumps({"type": kind, "object": thing}).encode() + b"\n")
                if at == len(self._changes):
                    await self._news.wait()
        return answer

    def _do(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()


def _is_in(path: str, collection: str, namespace: str) -> bool:
    *_, found_namespace, found, _ = path.split("/")
    return found == collection and namespace in ("", found_namespace)


def _matches(thing: Thing, selector: str) -> bool:
    labels = thing["metadata"].get("labels", {})
    return all(_has(labels, each.split("=")) for each in selector.split(",") if each)


def _has(labels: dict[str, str], wanted: Iterable[str]) -> bool:
    name, *value = wanted
    return name in labels and (not value or labels[name] == value[-1])


@asynccontextmanager
async def fake_cluster(host: str = "127.0.0.1", **settings: Any) -> AsyncIterator[FakeCluster]:
    cluster = FakeCluster(**settings)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", cluster.serve)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    cluster.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield cluster
    finally:
        await cluster.close()
        await runner.cleanup()
