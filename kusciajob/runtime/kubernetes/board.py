"""What is known of the pods of a server: where each is, what the cluster says of it, and what is told of that."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from kusciajob.runtime.hosted import labels, names
from kusciajob.runtime.hosted.engine import EngineUnavailable, Ref, Sighting
from kusciajob.runtime.kubernetes import pods
from kusciajob.runtime.kubernetes.api import Api
from kusciajob.runtime.kubernetes.pods import Event, Pod
from kusciajob.runtime.kubernetes.watch import Timing, Watch

LOST_SECONDS = 15.0
"""How long after its grace period the node of a deleted pod may need to say that the pod has ended."""
LOOK_SECONDS = 0.5
"""Who waits for something looks again after that long, news or not."""
_EVENTS = (
    "involvedObject.kind=Pod,reason!=Scheduled,reason!=Created,reason!=Started,reason!=Killing,"
    "reason!=FailedScheduling,reason!=BackOff,reason!=Failed"
)


class Place(NamedTuple):
    """A namespace, and in it the anchor of an attempt of a task."""

    namespace: str
    task: str


class Tracked:
    """A pod that exists."""

    def __init__(self, pod: Pod, ref: Ref) -> None:
        self.pod = pod
        self.ref = ref
        self.event = ""
        """What was told of it last while it is being set up."""
        self.told: Sighting | None = None
        self.is_lost = False
        self.over = asyncio.Event()
        """Set once nothing more will be heard of what runs in it."""
        self.is_being_ended = False
        self.doom: asyncio.TimerHandle | None = None

    def release(self) -> None:
        """It is gone: nothing more is done about it."""
        self.over.set()
        if self.doom is not None:
            self.doom.cancel()


class PodBoard:
    """Follows the pods of one server by two watches: of pods, and of what is told about pods.

    `end` is asked to end a pod of which one program has failed for good. `left` is told when the last pod of a place is
    gone.
    """

    def __init__(
        self,
        api: Api,
        *,
        end: Callable[[Tracked], None],
        left: Callable[[Place], None],
        timing: Timing,
        lost_seconds: float = LOST_SECONDS,
    ) -> None:
        self._api = api
        self._end = end
        self._left = left
        self._timing = timing
        self._lost_seconds = lost_seconds
        self._sight: Callable[[Sighting], None] = lambda _sighting: None
        self._prefix = ""
        self._tracked: dict[str, Tracked] = {}
        self._places: dict[str, Place] = {}
        """Where each pod is that may exist."""
        self._news = asyncio.Event()
        """Set, and replaced, whenever something has become of a pod."""
        self._away = ""
        """Why the API server cannot be reached; "" if it can."""
        self.failing = asyncio.Event()
        self._listed = asyncio.Event()

    async def run(self, owner: str, sight: Callable[[Sighting], None]) -> None:
        """Follow the pods of that store until cancelled."""
        self._sight = sight
        self._prefix = f"{names.PREFIX}-{names.short(owner)}-"
        of_pods = Watch(
            self._api,
            "/api/v1/pods",
            Pod,
            seen=self._see,
            gone=self._miss,
            listed=self._listed,
            reachable=self._note_reachable,
            query={"labelSelector": f"{labels.STORE}={names.short(owner)}"},
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
        try:
            await asyncio.gather(of_pods.run(), events.run())
        except Exception:
            self.failing.set()  # nothing is seen any more
            raise

    async def seen_all(self) -> None:
        """Return once each pod was told that existed. Raises EngineUnavailable."""
        while not self._listed.is_set():
            if self._away:
                raise EngineUnavailable(self._away)
            await self.news()

    async def news(self) -> None:
        """Return when something has become of any pod, or after a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)

    def get(self, name: str, uid: str = "") -> Tracked | None:
        """The pod of that name, and of that uid if one is given."""
        tracked = self._tracked.get(name)
        return tracked if tracked is None or not uid or tracked.pod.metadata.uid == uid else None

    def all(self) -> list[Tracked]:
        """All pods that exist."""
        return list(self._tracked.values())

    def path(self, name: str) -> str | None:
        """Where a pod is that may exist; None if there is none."""
        place = self._places.get(name)
        return f"/api/v1/namespaces/{place.namespace}/pods/{name}" if place else None

    def expect(self, name: str, place: Place) -> None:
        """A pod is about to be made there."""
        self._places[name] = place

    def is_used(self, place: Place) -> bool:
        """Whether a pod may exist there."""
        return place in self._places.values()

    def leave(self, name: str) -> None:
        """A pod does not exist any more."""
        place = self._places.pop(name, None)
        if place is not None and not self.is_used(place):
            self._left(place)

    def close(self) -> None:
        for tracked in self._tracked.values():
            tracked.release()

    def _see(self, pod: Pod) -> None:
        """A pod exists, or has changed."""
        ref = pod.ref
        if ref is None or not ref.name.startswith(self._prefix):
            return
        before = self._tracked.get(ref.name)
        if before is not None and before.pod.metadata.uid != pod.metadata.uid:
            self._miss(before.pod)
            before = None
        tracked = before or Tracked(pod, ref)
        tracked.pod = pod
        if pod.is_terminal:
            tracked.over.set()
        self._tracked[ref.name] = tracked
        self._places[ref.name] = Place(pod.metadata.namespace, ref.task)
        if pod.metadata.deletion_timestamp and not pod.is_terminal and tracked.doom is None:
            seconds = pod.metadata.deletion_grace_period_seconds + self._lost_seconds
            tracked.doom = asyncio.get_running_loop().call_later(seconds, self._give_up, tracked)
        if pods.needs_end(pod) and not tracked.is_being_ended:
            tracked.is_being_ended = True
            self._end(tracked)
        if not tracked.is_lost:
            self._tell(tracked, pods.sighting_of(pod, ref, tracked.event))

    def _miss(self, pod: Pod) -> None:
        """A pod is gone."""
        tracked = self._tracked.get(pod.metadata.name)
        if tracked is None or tracked.pod.metadata.uid != pod.metadata.uid:
            return
        del self._tracked[pod.metadata.name]
        self.leave(pod.metadata.name)
        tracked.release()
        if pod.is_terminal and not tracked.is_lost:
            self._tell(tracked, pods.sighting_of(pod, tracked.ref))  # its end may have come with its deletion
        self._tell(tracked, pods.gone(pod, tracked.ref))

    def _give_up(self, tracked: Tracked) -> None:
        """Its time is over, and nobody has said that it has ended."""
        if tracked.pod.is_terminal:
            return
        tracked.is_lost = True
        tracked.over.set()
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

    def _tell(self, tracked: Tracked, sighting: Sighting) -> None:
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
