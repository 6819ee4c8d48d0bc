"""Hosts workloads as pods: one pod for each, in the namespace of its domain."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextlib import aclosing, suppress

from msgspec import Struct

from kusciajob.config import Settings
from kusciajob.contracts import OutputStream, StartFailed
from kusciajob.runtime.chores import Chores
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import labels, names
from kusciajob.runtime.hosted.engine import PIECES_AHEAD, EngineUnavailable, LogPiece, Ref, Sighting, Workload
from kusciajob.runtime.kubernetes import credentials, objects, pods
from kusciajob.runtime.kubernetes.api import Api, ApiError, Conflict, NotFound, granted
from kusciajob.runtime.kubernetes.board import LOOK_SECONDS, LOST_SECONDS, Place, PodBoard, Tracked
from kusciajob.runtime.kubernetes.logs import Logs
from kusciajob.runtime.kubernetes.making import Maker, Named
from kusciajob.runtime.kubernetes.pods import Pod
from kusciajob.runtime.kubernetes.watch import USUAL, Timing
from kusciajob.streams import interleaved

CLEARING_SECONDS = 5.0
"""How long closing waits for the removal of what the last pods leave: no later server may come."""

END_SECONDS = 30.0
"""How long after its grace period the node of a pod may need to end it; then the pod is deleted."""


class _Anchors(Struct, frozen=True):
    items: list[Named] = []


class _Pods(Struct, frozen=True):
    items: list[Pod] = []


class KubernetesEngine:
    """An Engine over the API server of a cluster."""

    def __init__(
        self,
        api: Api,
        *,
        rules: objects.Rules,
        creates_namespaces: bool = False,
        timing: Timing = USUAL,
        lost_seconds: float = LOST_SECONDS,
    ) -> None:
        self._api = api
        self._rules = rules
        self._maker = Maker(api, rules, creates_namespaces=creates_namespaces)
        self._logs = Logs(api)
        self._board = PodBoard(api, end=self._end_soon, left=self._clear_soon, timing=timing, lost_seconds=lost_seconds)
        self._selector = ""
        self._chores = Chores()
        self._clearing = Chores()
        """Those that the engine does not close without."""

    @property
    def failing(self) -> asyncio.Event:
        """See Engine."""
        return self._board.failing

    async def open(self, owner: str, sight: Callable[[Sighting], None]) -> None:
        """See Engine."""
        self._selector = f"{labels.STORE}={names.short(owner)}"
        await self._api.open()
        self._chores.do(self._board.run(owner, sight), name="watches of pods")

    async def seen_all(self) -> None:
        """See Engine."""
        await self._board.seen_all()

    def host_of(self, name: str, domain: DomainSettings) -> str:
        """See Engine. Raises StartFailed if the domain's id makes no namespace."""
        return f"{name}.{objects.namespace_of(domain, self._rules)}.svc"

    async def create(self, workload: Workload) -> str:
        """See Engine."""
        place = Place(objects.namespace_of(workload.domain, self._rules), workload.ref.task)
        # Expected, it keeps the anchor, which goes with the last pod of its place.
        self._board.expect(workload.ref.name, place)
        return await self._maker.make(workload, place)

    async def release(self, ref: Ref) -> None:
        """See Engine."""
        path = self._board.path(ref.name)
        if path is None:
            raise StartFailed("its pod is gone before it ran")
        condition = {"uid": ref.uid} if ref.uid else {}
        try:
            await self._api.patch(path, {"metadata": condition, "spec": {"schedulingGates": None}})
        except (NotFound, Conflict):
            raise StartFailed("its pod is gone before it ran") from None
        except ApiError as error:
            raise StartFailed(f"the cluster refuses to run its pod: {pods.plain(str(error))}") from None

    async def end(self, ref: Ref, grace_seconds: float) -> None:
        """See Engine."""
        path = self._board.path(ref.name)
        if path is None:
            return
        try:
            pod = await granted(self._api.get(path, Pod), NotFound)
        except NotFound:
            return
        if pod.is_terminal or (ref.uid and pod.metadata.uid != ref.uid):
            return
        if pod.status.phase == "Running":
            await granted(self._cut_short(path, pod))
            if await self._is_over(path, pod, within=grace_seconds + END_SECONDS):
                return
        # It never ran, or its node does not do what it is told.
        await granted(self._delete(path, pod, grace_seconds))
        await self._is_over(path, pod, within=None)

    async def _cut_short(self, path: str, pod: Pod) -> None:
        """Have a pod ended that stays there with its end and its output: that is what a deadline does."""
        with suppress(NotFound, Conflict):
            await self._api.patch(path, {"metadata": {"uid": pod.metadata.uid}, "spec": {"activeDeadlineSeconds": 1}})

    async def _delete(self, path: str, pod: Pod, grace_seconds: float) -> None:
        grace = 0 if not pod.spec.node_name else max(round(grace_seconds), 1)
        await self._api.delete(path, uid=pod.metadata.uid, grace_seconds=grace)

    async def _is_over(self, path: str, pod: Pod, *, within: float | None) -> bool:
        """Wait until the pod has ended, is gone, or is lost. False if that takes longer than `within` seconds."""
        try:
            async with asyncio.timeout(within):
                while not await self._has_ended(path, pod):
                    await self._board.news()
        except TimeoutError:
            return False
        return True

    async def _has_ended(self, path: str, pod: Pod) -> bool:
        if tracked := self._board.get(pod.metadata.name, pod.metadata.uid):
            return tracked.over.is_set()
        # Gone, or the watch has not brought it yet.
        try:
            found = await granted(self._api.get(path, Pod), NotFound)
        except NotFound:
            return True
        return found.is_terminal or found.metadata.uid != pod.metadata.uid

    async def remove(self, ref: Ref) -> None:
        """See Engine."""
        path = self._board.path(ref.name)
        if path is None:
            await self._remove_anchors(f",{labels.GROUP}={ref.task}")  # the pod vanished while no server was there
            return
        tracked = self._board.get(ref.name)
        # A node that does not answer would keep the object for ever.
        grace = 0 if tracked is None or tracked.over.is_set() else None
        await granted(self._api.delete(path, uid=ref.uid, grace_seconds=grace))
        if grace == 0 or self._board.get(ref.name) is None:  # it is gone with the answer; the watch may tell later
            self._board.leave(ref.name)

    async def logs(
        self, ref: Ref, since: Mapping[OutputStream, str], *, is_continued: bool = False
    ) -> AsyncIterator[LogPiece]:
        """See Engine. Nothing that it tells lacks pieces."""
        path = self._board.path(ref.name)
        tracked = self._board.get(ref.name)
        if path is None or tracked is None:
            return
        sources = [
            self._logs.of_container(
                path, container.name, ref, source, since=since.get(source.stream, ""), over=tracked.over
            )
            for container in tracked.pod.spec.containers
            for source in await granted(self._logs.sources(path, container.name, tracked.over))
        ]
        async with aclosing(interleaved(sources, ahead=PIECES_AHEAD)) as pieces:
            async for piece in pieces:
                yield piece

    async def owned(self) -> Collection[int]:
        """See Engine."""
        await self.seen_all()
        jobs = {tracked.ref.key.job for tracked in self._board.all()}
        for anchor in await self._list_anchors(""):
            with suppress(ValueError):
                jobs.add(int(anchor.metadata.labels.get(labels.JOB, "")))
        return jobs

    async def remove_job(self, job: int, grace_seconds: float) -> None:
        """See Engine."""
        selector = f"{self._selector},{labels.JOB}={job}"
        while True:
            left = (await granted(self._api.get("/api/v1/pods", _Pods, labelSelector=selector))).items
            for pod in left:
                own = pod.metadata
                tracked = self._board.get(own.name, own.uid)
                is_over = pod.is_terminal or (tracked is not None and tracked.over.is_set())
                if is_over or not own.deletion_timestamp:
                    path = f"/api/v1/namespaces/{own.namespace}/pods/{own.name}"
                    await granted(self._delete(path, pod, grace_seconds) if not is_over else self._forget(path, pod))
            if not left and not any(tracked.ref.key.job == job for tracked in self._board.all()):
                break
            await self._board.news()
        await self._remove_anchors(f",{labels.JOB}={job}")

    async def _forget(self, path: str, pod: Pod) -> None:
        """Remove the object of a pod of which nothing runs, whatever its node says."""
        await self._api.delete(path, uid=pod.metadata.uid, grace_seconds=0)

    async def _remove_anchors(self, selector: str) -> None:
        """Remove what belongs to attempts of which no pod may exist."""
        for anchor in await self._list_anchors(selector):
            place = Place(anchor.metadata.namespace, anchor.metadata.name)
            if not self._board.is_used(place):
                self._maker.forget(place)
                await granted(self._api.delete(_path_of_anchor(place), uid=anchor.metadata.uid))

    async def _list_anchors(self, more: str) -> list[Named]:
        selector = f"{self._selector},{objects.ANCHOR}=true{more}"
        return (await granted(self._api.get("/api/v1/configmaps", _Anchors, labelSelector=selector))).items

    async def close(self) -> None:
        """See Engine."""
        await self._clearing.wait(CLEARING_SECONDS)
        await self._chores.end()
        await self._clearing.end()
        self._board.close()
        await self._api.close()

    def _clear_soon(self, place: Place) -> None:
        """The last pod of a place is gone: with the anchor goes all that belonged to them."""
        self._maker.forget(place)
        clearing = self._insist(lambda: self._api.delete(_path_of_anchor(place)))
        self._clearing.do(clearing, name=f"removal of {place.task}")

    def _end_soon(self, tracked: Tracked) -> None:
        """One of its programs has failed for good: the others shall not go on."""
        name = tracked.ref.name
        if path := self._board.path(name):
            self._chores.do(self._insist(lambda: self._cut_short(path, tracked.pod)), name=f"end of pod {name}")

    async def _insist(self, ask: Callable[[], Coroutine[None, None, None]]) -> None:
        """Ask until the API server answers."""
        while True:
            try:
                await ask()
            except EngineUnavailable:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return


def _path_of_anchor(place: Place) -> str:
    return f"/api/v1/namespaces/{place.namespace}/configmaps/{place.task}"


def open_engine(settings: Settings) -> KubernetesEngine:
    """The engine that the settings describe. Raises InvalidKubeconfig."""
    user, _, group = settings.container_user.partition(":")
    rules = objects.Rules(
        namespace=settings.namespace,
        grace_seconds=settings.stop_grace_seconds,
        node_lost_seconds=settings.node_lost_seconds,
        allow_root=settings.allow_root,
        user=int(user) if user else None,
        group=int(group) if group else None,
    )
    known = credentials.load(str(settings.kube_config or ""), settings.kube_context)
    return KubernetesEngine(Api(known), rules=rules, creates_namespaces=settings.create_namespaces)
