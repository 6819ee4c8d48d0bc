"""Hosts workloads as pods: one pod for each, in the namespace of its domain."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from kusciajob.config import Settings
from kusciajob.contracts import OutputStream, StartFailed
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import names
from kusciajob.runtime.hosted.engine import EngineUnavailable, LogPiece, Ref, Sighting, Workload
from kusciajob.runtime.kubernetes import credentials, objects, pods
from kusciajob.runtime.kubernetes.api import Api, ApiError, Conflict, NotFound
from kusciajob.runtime.kubernetes.logs import Logs
from kusciajob.runtime.kubernetes.pods import Event, Pod
from kusciajob.runtime.kubernetes.watch import Metadata, Timing, Watch

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOST_SECONDS = 15.0
"""How long after its grace period the node of a deleted pod may need to say that the pod has ended."""
END_SECONDS = 30.0
"""How long after its grace period the node of a pod may need to end it; then the pod is deleted."""
POLL_SECONDS = 0.5
POLICIES = "/apis/networking.k8s.io/v1"
_EVENTS = (
    "involvedObject.kind=Pod,reason!=Scheduled,reason!=Created,reason!=Started,reason!=Killing,"
    "reason!=FailedScheduling,reason!=BackOff,reason!=Failed"
)


class _Named(Struct, frozen=True):
    metadata: Metadata = Metadata()


class _NamedList(Struct, frozen=True):
    items: list[_Named] = []


class _PodList(Struct, frozen=True):
    items: list[Pod] = []


class _Place(NamedTuple):
    """A namespace, and in it the anchor of an attempt of a task."""

    namespace: str
    task: str


class _Tracked:
    """A pod that exists."""

    def __init__(self, pod: Pod, ref: Ref) -> None:
        self.pod = pod
        self.ref = ref
        self.event = ""
        """What was told of it last while it is being set up."""
        self.told: Sighting | None = None
        self.is_lost = False
        self.doom: asyncio.TimerHandle | None = None
        self.ending: asyncio.Task[None] | None = None

    def release(self) -> None:
        """It is gone: nothing more is done about it."""
        if self.doom is not None:
            self.doom.cancel()


class KubernetesEngine:
    """An Engine over the API server of a cluster."""

    def __init__(
        self,
        api: Api,
        *,
        rules: objects.Rules,
        creates_namespaces: bool = False,
        timing: Timing | None = None,
        lost_seconds: float = LOST_SECONDS,
    ) -> None:
        self._api = api
        self._rules = rules
        self._creates_namespaces = creates_namespaces
        self._timing = timing or Timing()
        self._lost_seconds = lost_seconds
        self._logs = Logs(api)
        self._sight: Callable[[Sighting], None] = lambda _sighting: None
        self._selector = ""
        self._prefix = ""
        self._tracked: dict[str, _Tracked] = {}
        self._places: dict[str, _Place] = {}
        """Where each pod is that may exist."""
        self._anchors: dict[_Place, str] = {}
        """The uid of each anchor that was made and is in use."""
        self._news = asyncio.Event()
        """Set, and replaced, whenever something has become of a pod."""
        self._work: set[asyncio.Task[None]] = set()
        self._pods: Watch[Pod] | None = None
        self._away = ""
        """Why the API server cannot be reached; "" if it can."""
        self.failing = asyncio.Event()

    async def open(self, owner: str, sight: Callable[[Sighting], None]) -> None:
        """See Engine."""
        self._sight = sight
        self._selector = f"{objects.STORE}={names.short(owner)}"
        self._prefix = f"{names.PREFIX}-{names.short(owner)}-"
        await self._api.open()
        self._pods = Watch(
            self._api,
            "/api/v1/pods",
            Pod,
            seen=self._see,
            gone=self._miss,
            reachable=self._note_reachable,
            query={"labelSelector": self._selector},
            timing=self._timing,
        )
        events = Watch(
            self._api,
            "/api/v1/events",
            Event,
            seen=self._hear,
            query={"fieldSelector": _EVENTS},
            is_history_wanted=False,
            timing=self._timing,
        )
        self._do(self._pods.run(), name="watch of pods")
        self._do(events.run(), name="watch of events")

    async def seen_all(self) -> None:
        """See Engine."""
        while self._pods is not None and not self._pods.listed.is_set():
            if self._away:
                raise EngineUnavailable(self._away)
            news = self._news
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), POLL_SECONDS)

    def host_of(self, name: str, domain: DomainSettings) -> str:
        """See Engine. Raises StartFailed if the domain's id makes no namespace."""
        return f"{name}.{objects.namespace_of(domain, self._rules)}.svc"

    async def create(self, workload: Workload) -> str:
        """See Engine."""
        ref = workload.ref
        namespace = objects.namespace_of(workload.domain, self._rules)
        manifest, companions = objects.pod(workload, self._rules), objects.companions(workload)
        try:
            # It keeps the anchor, which goes with the last pod.
            self._places[ref.name] = _Place(namespace, ref.task)
            anchor_uid = await self._anchor(self._places[ref.name], workload)
            own = {"anchor_name": ref.task, "anchor_uid": anchor_uid}
            uid = await self._make_pod(namespace, objects.owned(manifest, **own))
            for plural, companion in companions:
                root = POLICIES if plural == "networkpolicies" else "/api/v1"
                with suppress(Conflict):
                    path = f"{root}/namespaces/{namespace}/{plural}"
                    await self._api.create(path, objects.owned(companion, **own), _Named)
        except ApiError as error:
            if error.is_quota:
                raise EngineUnavailable(f"namespace {namespace}: {_quota_text(str(error))}") from None
            raise StartFailed(f"the cluster refuses the party's pod: {pods.plain(str(error))}") from None
        return uid

    async def _anchor(self, place: _Place, workload: Workload) -> str:
        """The uid of the task's anchor in the namespace, which is made if need be."""
        if place not in self._anchors:
            path = f"/api/v1/namespaces/{place.namespace}/configmaps"
            manifest = objects.anchor(workload)
            try:
                made = await self._api.create(path, manifest, _Named)
            except Conflict:
                made = await self._api.get(f"{path}/{place.task}", _Named)
            except NotFound:
                await self._make_namespace(place.namespace, workload.domain)
                made = await self._api.create(path, manifest, _Named)
            self._anchors[place] = made.metadata.uid
        return self._anchors[place]

    async def _make_namespace(self, namespace: str, domain: DomainSettings) -> None:
        if not self._creates_namespaces:
            raise StartFailed(
                f"namespace {namespace} of domain {domain.domain_id} does not exist: make it, or let the server do so "
                "(setting create_namespaces)"
            )
        with suppress(Conflict):
            await self._api.create("/api/v1/namespaces", objects.namespace(namespace), _Named)

    async def _make_pod(self, namespace: str, manifest: objects.Manifest) -> str:
        path = f"/api/v1/namespaces/{namespace}/pods"
        own: dict[str, Any] = manifest["metadata"]
        try:
            return (await self._api.create(path, manifest, _Named)).metadata.uid
        except Conflict:
            found = await self._api.get(f"{path}/{own['name']}", Pod)
            if any(
                found.metadata.labels.get(label) != own["labels"][label] for label in (objects.STORE, objects.GROUP)
            ):
                raise StartFailed(
                    f"pod {own['name']} exists in namespace {namespace} and is not this server's"
                ) from None
            return found.metadata.uid

    async def release(self, ref: Ref) -> None:
        """See Engine."""
        path = self._path(ref)
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
        path = self._path(ref)
        if path is None:
            return
        try:
            pod = await self._api.get(path, Pod)
        except NotFound:
            return
        if pod.is_terminal or (ref.uid and pod.metadata.uid != ref.uid):
            return
        if pod.status.phase == "Running":
            await self._cut_short(path, pod)
            if await self._is_over(path, pod, within=grace_seconds + END_SECONDS):
                return
        # It never ran, or its node does not do what it is told.
        await self._delete(path, pod, grace_seconds)
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
                while True:
                    news = self._news
                    if await self._has_ended(path, pod):
                        return True
                    with suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), POLL_SECONDS)
        except TimeoutError:
            return False

    async def _has_ended(self, path: str, pod: Pod) -> bool:
        tracked = self._tracked.get(pod.metadata.name)
        if tracked is not None and tracked.pod.metadata.uid == pod.metadata.uid:
            return tracked.is_lost or tracked.pod.is_terminal
        # Gone, or the watch has not brought it yet.
        try:
            found = await self._do_or_unavailable(self._api.get(path, Pod), NotFound)
        except NotFound:
            return True
        return found.is_terminal or found.metadata.uid != pod.metadata.uid

    async def remove(self, ref: Ref) -> None:
        """See Engine."""
        path = self._path(ref)
        if path is None:
            await self._remove_anchors(f",{objects.GROUP}={ref.task}")  # the pod vanished while no server was there
            return
        tracked = self._tracked.get(ref.name)
        # A node that does not answer would keep the object for ever.
        grace = 0 if tracked is None or tracked.is_lost or tracked.pod.is_terminal else None
        await self._do_or_unavailable(self._api.delete(path, uid=ref.uid, grace_seconds=grace))
        if ref.name not in self._tracked:
            self._leave(ref.name)

    def _leave(self, name: str) -> None:
        """A pod is gone. With the last one in its place goes the anchor, and with that all that belonged to them."""
        place = self._places.pop(name, None)
        if place is not None and place not in self._places.values():
            self._anchors.pop(place, None)
            self._do(self._delete_anchor(place), name=f"removal of {place.task}")

    async def _delete_anchor(self, place: _Place) -> None:
        while True:
            try:
                await self._api.delete(f"/api/v1/namespaces/{place.namespace}/configmaps/{place.task}")
            except EngineUnavailable:
                await asyncio.sleep(POLL_SECONDS)
            except ApiError as error:
                logger.error("what belongs to %s cannot be removed: %s", place.task, error)
                return
            else:
                return

    async def logs(self, ref: Ref, since: Mapping[OutputStream, str]) -> AsyncIterator[LogPiece]:
        """See Engine. The API server does not tell the streams apart."""
        path = self._path(ref)
        tracked = self._tracked.get(ref.name)
        if path is None or tracked is None:
            return
        uid = tracked.pod.metadata.uid

        def is_over() -> bool:
            now = self._tracked.get(ref.name)
            return now is None or now.pod.metadata.uid != uid or now.pod.is_terminal or now.is_lost

        sources = [
            self._logs.of_container(
                path, container.name, ref, source, since=since.get(source.stream, ""), is_over=is_over
            )
            for container in tracked.pod.spec.containers
            for source in await self._do_or_unavailable(self._logs.sources(path, container.name))
        ]
        if len(sources) == 1:
            async for piece in sources[0]:
                yield piece
            return
        async for piece in _merged(sources):
            yield piece

    async def owned(self) -> Collection[int]:
        """See Engine."""
        await self.seen_all()
        jobs = {tracked.ref.key.job for tracked in self._tracked.values()}
        for anchor in await self._list_anchors(""):
            with suppress(ValueError):
                jobs.add(int(anchor.metadata.labels.get(objects.JOB, "")))
        return jobs

    async def remove_job(self, job: int, grace_seconds: float) -> None:
        """See Engine."""
        selector = f"{self._selector},{objects.JOB}={job}"
        while True:
            try:
                left = (await self._api.get("/api/v1/pods", _PodList, labelSelector=selector)).items
                for pod in left:
                    own = pod.metadata
                    tracked = self._tracked.get(own.name)
                    is_dead = pod.is_terminal or (tracked is not None and tracked.is_lost)
                    if is_dead or not own.deletion_timestamp:
                        path = f"/api/v1/namespaces/{own.namespace}/pods/{own.name}"
                        await self._delete(path, pod, 0 if is_dead else grace_seconds)
                if not left and not any(tracked.ref.key.job == job for tracked in self._tracked.values()):
                    break
            except ApiError as error:
                raise EngineUnavailable(f"the pods of job {job} cannot be removed: {error}") from None
            await asyncio.sleep(POLL_SECONDS)
        await self._remove_anchors(f",{objects.JOB}={job}")

    async def _remove_anchors(self, selector: str) -> None:
        """Remove what belongs to attempts of which no pod may exist."""
        for anchor in await self._list_anchors(selector):
            own = anchor.metadata
            place = _Place(own.namespace, own.name)
            if place not in self._places.values():
                self._anchors.pop(place, None)
                path = f"/api/v1/namespaces/{own.namespace}/configmaps/{own.name}"
                await self._do_or_unavailable(self._api.delete(path, uid=own.uid))

    async def _list_anchors(self, more: str) -> list[_Named]:
        selector = f"{self._selector},{objects.ANCHOR}=true{more}"
        listed = self._api.get("/api/v1/configmaps", _NamedList, labelSelector=selector)
        return (await self._do_or_unavailable(listed)).items

    async def close(self) -> None:
        """See Engine."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        for tracked in self._tracked.values():
            tracked.release()
        await self._api.close()

    def _path(self, ref: Ref) -> str | None:
        """Where the pod is; None if there is none."""
        place = self._places.get(ref.name)
        return f"/api/v1/namespaces/{place.namespace}/pods/{ref.name}" if place else None

    def _see(self, pod: Pod) -> None:
        """A pod exists, or has changed."""
        ref = pod.ref
        if ref is None or not ref.name.startswith(self._prefix):
            return
        before = self._tracked.get(ref.name)
        if before is not None and before.pod.metadata.uid != pod.metadata.uid:
            self._miss(before.pod)
            before = None
        tracked = before or _Tracked(pod, ref)
        tracked.pod = pod
        self._tracked[ref.name] = tracked
        self._places[ref.name] = _Place(pod.metadata.namespace, ref.task)
        if pod.metadata.deletion_timestamp and not pod.is_terminal and tracked.doom is None:
            seconds = pod.metadata.deletion_grace_period_seconds + self._lost_seconds
            tracked.doom = asyncio.get_running_loop().call_later(seconds, self._give_up, tracked)
        if pods.needs_end(pod) and tracked.ending is None:
            tracked.ending = self._do(self._end_for_good(tracked), name=f"end of pod {ref.name}")
        if not tracked.is_lost:
            self._tell(tracked, pods.sighting_of(pod, ref, tracked.event))

    def _miss(self, pod: Pod) -> None:
        """A pod is gone."""
        tracked = self._tracked.get(pod.metadata.name)
        if tracked is None or tracked.pod.metadata.uid != pod.metadata.uid:
            return
        del self._tracked[pod.metadata.name]
        self._leave(pod.metadata.name)
        tracked.release()
        if pod.is_terminal and not tracked.is_lost:
            self._tell(tracked, pods.sighting_of(pod, tracked.ref))  # its end may have come with its deletion
        self._tell(tracked, pods.gone(pod, tracked.ref))

    def _give_up(self, tracked: _Tracked) -> None:
        """Its time is over, and nobody has said that it has ended."""
        if tracked.pod.is_terminal:
            return
        tracked.is_lost = True
        self._tell(tracked, pods.lost(tracked.pod, tracked.ref))

    def _hear(self, event: Event) -> None:
        """The cluster tells something about a pod."""
        tracked = self._tracked.get(event.involved_object.name)
        if tracked is None or tracked.pod.metadata.uid != event.involved_object.uid:
            return
        text = pods.event_text(event)
        if text is None or text == tracked.event:
            return
        tracked.event = text
        if tracked.pod.status.phase == "Pending" and not tracked.is_lost:
            self._tell(tracked, pods.sighting_of(tracked.pod, tracked.ref, text))

    async def _end_for_good(self, tracked: _Tracked) -> None:
        """One of its programs has failed for good: the others shall not go on."""
        path = self._path(tracked.ref)
        while path is not None:
            try:
                await self._cut_short(path, tracked.pod)
                return
            except EngineUnavailable:
                await asyncio.sleep(POLL_SECONDS)
            except ApiError as error:
                logger.error("pod %s cannot be ended: %s", tracked.ref.name, error)
                return

    def _tell(self, tracked: _Tracked, sighting: Sighting) -> None:
        """Pods change in many ways: what is seen of them is told when it has changed."""
        if sighting != tracked.told:
            tracked.told = sighting
            self._sight(sighting)
        self._wake()

    def _wake(self) -> None:
        """Let all look again who wait for something."""
        self._news.set()
        self._news = asyncio.Event()

    def _note_reachable(self, error: str) -> None:
        self._away = error
        if error:
            self.failing.set()
        else:
            self.failing.clear()
        self._wake()

    async def _do_or_unavailable(self, request: Coroutine[None, None, T], *expected: type[ApiError]) -> T:
        """What it returns. Any refusal but those that are expected is an EngineUnavailable: rights may be mended."""
        try:
            return await request
        except expected:
            raise
        except ApiError as error:
            raise EngineUnavailable(f"the API server refuses it: {error}") from None

    def _do(self, work: Coroutine[None, None, None], *, name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        self._work.add(task)
        task.add_done_callback(self._note_done)
        return task

    def _note_done(self, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s failed: %s", task.get_name(), error, exc_info=error)
            self.failing.set()


async def _merged(sources: list[AsyncIterator[LogPiece]]) -> AsyncIterator[LogPiece]:
    """The pieces of all, as they come."""
    queue: asyncio.Queue[LogPiece | BaseException | None] = asyncio.Queue(maxsize=100)

    async def pump(source: AsyncIterator[LogPiece]) -> None:
        try:
            async for piece in source:
                await queue.put(piece)
        except EngineUnavailable as error:
            await queue.put(error)
        else:
            await queue.put(None)

    pumps = [asyncio.create_task(pump(source), name="output of a container") for source in sources]
    left = len(pumps)
    try:
        while left:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


_USED = re.compile(r" used: [^ ]+,")


def _quota_text(message: str) -> str:
    """The refusal without the names of what was refused, and without what changes while one waits."""
    found = re.search(r"exceeded quota: .*", message, re.DOTALL)
    return pods.plain(_USED.sub("", found[0] if found else message))


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
