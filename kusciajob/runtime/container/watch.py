"""One watch over all containers of a store: events tell which to look at, the list of all shows what was missed."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
from aiodocker.exceptions import DockerError
from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import Node
from kusciajob.runtime.chores import Chores
from kusciajob.runtime.container import labels, states
from kusciajob.runtime.container.connection import CALL_SECONDS, Connection, is_gone, refusal
from kusciajob.runtime.container.states import Seen
from kusciajob.runtime.hosted.engine import EngineUnavailable, Phase, Sighting

logger = logging.getLogger(__name__)

PING_SECONDS = 5.0
"""How often the engine is asked whether it is there, and how long it may take to answer."""
LIST_SECONDS = 15.0
"""How often everything is listed: whatever an engine does not tell is seen then."""
LIST_SHARE = 20
"""And not before so many times the time has passed that the last list took: Podman looks at each container for it."""
LIST_TIMEOUT_SECONDS = 300.0
RECONNECT_SECONDS = 1.0
MAX_LOOKS = 4
"""So many containers are looked at at once."""
_NEWS = frozenset({"die", "died", "restart", "stop"})
_ENDS_OF_EXISTENCE = frozenset({"destroy", "remove"})
_REMOVED = "its container was removed by somebody else"


class _Actor(Struct, frozen=True):
    ID: str = ""
    Attributes: dict[str, str] = {}


class _Event(Struct, frozen=True):
    Action: str = ""
    Actor: _Actor = _Actor()
    time: int = 0


class _Watched(Struct):
    """A workload: its containers by their index, and what was told of it last."""

    containers: dict[int, Seen] = {}
    told: Sighting | None = None
    is_broken: bool = False
    """Whether one of its containers is gone."""


class Watch:
    """What one store has on the engine, told as it changes."""

    def __init__(
        self,
        connection: Connection,
        owner: str,
        *,
        node: Node,
        guesses_oom: bool,
        sight: Callable[[Sighting], None],
        end: Callable[[Iterable[str]], Coroutine[Any, Any, None]],
        failing: asyncio.Event,
        has_listed: asyncio.Event,
    ) -> None:
        """`end` ends containers at once: the other programs of a workload when one has failed.

        `failing` is set while the engine cannot be reached, `has_listed` once all that exists was told.
        """
        self._connection = connection
        self._owner = owner
        self._node = node
        self._guesses_oom = guesses_oom
        self._sight = sight
        self._end = end
        self._workloads: dict[str, _Watched] = {}
        self._places: dict[str, tuple[str, int]] = {}
        """The workload and the index of each container, by the container's id."""
        self.ordered: set[str] = set()
        """Containers whose end somebody has asked for."""
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._looks = asyncio.Semaphore(MAX_LOOKS)
        self._chores = Chores()
        self._is_streaming = asyncio.Event()
        self._failing = failing
        self._has_listed = has_listed

    async def run(self) -> None:
        """Watch for ever, whatever becomes of the connection."""
        try:
            while True:
                try:
                    await self._watch()
                except EngineUnavailable as error:
                    if not self._failing.is_set():
                        self._connection.complain(error)
                    self._failing.set()
                await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            await _cancelled(self._looking.values())
            await self._chores.end()

    def order(self, containers: Iterable[str]) -> None:
        """Note that the end of these was asked for."""
        news = set(containers) - self.ordered
        self.ordered |= news
        for name in {self._places[each][0] for each in news if each in self._places}:
            self._judge(self._workloads[name])

    def seen(self, workload: str) -> list[Seen]:
        """The containers of a workload, as they were seen last, in their order."""
        watched = self._workloads.get(workload)
        return [seen for _, seen in sorted(watched.containers.items())] if watched else []

    def forget(self, containers: Iterable[str]) -> None:
        """Containers are removed: what the engine will tell of it need not be awaited."""
        for container in containers:
            self._forget(container)

    def has_group(self, group: str) -> bool:
        """Whether anything is left of an attempt of a task."""
        return any(
            seen.place.ref.task == group for watched in self._workloads.values() for seen in watched.containers.values()
        )

    async def _watch(self) -> None:
        """Watch until the connection breaks. Raises EngineUnavailable."""
        self._is_streaming.clear()
        parts = {*map(asyncio.create_task, (self._read_events(), self._list_often(), self._ping_often()))}
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(parts)
        for part in ended:
            part.result()

    async def _read_events(self) -> None:
        filters = {"type": ["container"], **labels.filters(self._owner)}
        params = {"filters": msgspec.json.encode(filters).decode()}
        try:
            async with self._connection.stream("GET", "events", params) as lines:
                self._is_streaming.set()
                async for line in lines:
                    self._hear(line)
        except (DockerError, ValueError) as error:  # a line that is too long is a ValueError
            raise EngineUnavailable(f"the container engine tells no events: {error}") from None
        raise EngineUnavailable("the container engine has closed the stream of its events")

    def _hear(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line, type=_Event)
        except msgspec.MsgspecError:
            return
        container = event.Actor.ID
        if event.Action in _ENDS_OF_EXISTENCE:
            self._forget(container)
        elif event.Action == "kill":
            self.ordered.add(container)
        elif event.Action == "create" and container not in self._places:
            if (place := labels.place_of(event.Actor.Attributes)) is not None:
                self._note(Seen(container, place, states.CREATED))
        elif event.Action == "start":
            self._note_start(container, float(event.time))
        elif event.Action in _NEWS:
            self._look(container)

    def _note_start(self, container: str, started_at: float) -> None:
        """What an event tells need not be asked for: engines take long for answers when many tasks begin."""
        name, index = self._places.get(container, ("", 0))
        seen = self._workloads[name].containers[index] if name else None
        if seen is not None and seen.is_created:
            self._note(replace(seen, status="running", started_at=started_at))
        else:
            self._look(container)

    async def _list_often(self) -> None:
        # First the stream, then the list: nothing falls between them.
        await self._is_streaming.wait()
        while True:
            began_at = time.monotonic()
            await self._list()
            took_seconds = time.monotonic() - began_at
            if self._failing.is_set():
                logger.info("the container engine answers again")
            self._failing.clear()
            self._has_listed.set()
            await asyncio.sleep(max(LIST_SECONDS, LIST_SHARE * took_seconds))

    async def _list(self) -> None:
        known = set(self._places)
        try:
            async with self._connection.waiting(LIST_TIMEOUT_SECONDS) as docker:
                listed = await docker.containers.list(all=True, filters=labels.filters(self._owner))
        except DockerError as error:
            raise EngineUnavailable(f"containers cannot be listed: {refusal(error)}") from None
        there = {each.id: str(each._container.get("State", "")) for each in listed}
        for container in known - set(there):
            self._forget(container)
        for container, status in there.items():
            if not self._is_as_known(container, status):
                self._look(container)
        await asyncio.gather(*self._looking.values(), return_exceptions=True)
        for watched in list(self._workloads.values()):
            self._judge(watched)

    def _is_as_known(self, container: str, status: str) -> bool:
        if container not in self._places:
            return False
        name, index = self._places[container]
        seen = self._workloads[name].containers[index]
        return seen.status == status and not seen.will_restart(time.time())

    async def _ping_often(self) -> None:
        while True:
            await self._connection.ping(PING_SECONDS)
            await asyncio.sleep(PING_SECONDS)

    def _look(self, container: str) -> None:
        """Look at a container; if that is under way, once more after it."""
        if container in self._looking:
            self._again.add(container)
            return
        self._looking[container] = task = asyncio.create_task(self._look_at(container), name=f"look at {container}")
        task.add_done_callback(lambda _: self._looking.pop(container, None))

    async def _look_at(self, container: str) -> None:
        while True:
            self._again.discard(container)
            try:
                # Not behind all that is yet to be made.
                async with self._looks, self._connection.waiting(CALL_SECONDS) as docker:
                    seen = states.read(await docker.containers.container(container).show())
            except DockerError as error:
                if is_gone(error):
                    self._forget(container)
                else:
                    logger.error("container %s cannot be inspected: %s", container, refusal(error))
            except EngineUnavailable:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            else:
                if seen is not None:
                    self._note(seen)
            if container not in self._again:
                return

    def _note(self, seen: Seen) -> None:
        name, index = seen.place.ref.name, seen.place.index
        watched = self._workloads.setdefault(name, _Watched())
        former = watched.containers.get(index)
        if former is not None and former.id != seen.id:
            # Removed, and made again by another start of the party.
            self._forget(former.id)
            watched = self._workloads.setdefault(name, _Watched())
        watched.containers[index] = seen
        self._places[seen.id] = name, index
        self._judge(watched)

    def _judge(self, watched: _Watched) -> None:
        if watched.is_broken or not watched.containers:
            return
        containers = [seen for _, seen in sorted(watched.containers.items())]
        first = watched.containers.get(0)
        ref = replace(containers[0].place.ref, uid=first.id if first else "")
        verdict = states.judge(
            ref,
            containers,
            node=self._node,
            now=time.time(),
            ordered=self.ordered,
            guesses_oom=self._guesses_oom,
        )
        if to_end := [container for container in verdict.to_end if container not in self.ordered]:
            self.ordered.update(to_end)
            self._chores.do(self._end(to_end), name=f"end of {ref.name}")
        if verdict.sighting != watched.told:
            watched.told = verdict.sighting
            self._sight(verdict.sighting)

    def _forget(self, container: str) -> None:
        self.ordered.discard(container)
        if (place := self._places.pop(container, None)) is None:
            return
        name, index = place
        watched = self._workloads[name]
        gone = watched.containers.pop(index)
        if not watched.containers:
            del self._workloads[name]
        if not watched.is_broken:
            watched.is_broken = True
            uid = gone.id if index == 0 else watched.containers[0].id if 0 in watched.containers else ""
            self._sight(Sighting(replace(gone.place.ref, uid=uid), Phase.GONE, _REMOVED))


async def _cancelled(tasks: Iterable["asyncio.Task[None]"]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
