"""An Engine over the Docker Engine API: a container for each program, a network for each attempt of a task.

Podman shows a container as created whose start has failed, and Docker starts one again that has ended: so only one is
started that has never run. What an earlier server has asked for may still be under way then, see SETTLE_SECONDS.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiodocker.exceptions import DockerError

from kusciajob.config import Settings
from kusciajob.contracts import OutputStream, StartFailed
from kusciajob.runtime.container import bodies, files, labels, logs, states
from kusciajob.runtime.container.connection import (
    CONFLICT,
    NOT_FOUND,
    NOT_MODIFIED,
    UNREACHED,
    Connection,
    find_address,
    ignoring,
    is_gone,
    refusal,
)
from kusciajob.runtime.container.files import Files, User
from kusciajob.runtime.container.images import Image, Images
from kusciajob.runtime.container.networks import OUTSIDE, Networks
from kusciajob.runtime.container.states import Seen
from kusciajob.runtime.container.traits import Traits, read_traits
from kusciajob.runtime.container.volumes import Volumes
from kusciajob.runtime.container.watch import RECONNECT_SECONDS, Watch
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted.engine import EngineUnavailable, LogPiece, OutputIncomplete, Ref, Sighting, Workload
from kusciajob.runtime.hosted.labels import job_of, of_group
from kusciajob.runtime.together import all_done

SETTLE_SECONDS = 2.0
"""How long a container must be seen as created before it is started where a start may be under way already."""
STOP_SECONDS = 60.0
"""How long the engine may take to kill what does not end by itself."""
START_PAUSES_SECONDS = (1.0, 3.0)
"""How long a start that failed is waited with: networks are made by programs that can fail while others do the same."""
_FOR_GOOD = ("no such file", "not found", "permission denied", "exec format error", "unable to find user")
MAX_MAKING = 4
"""So many workloads are made at once: those that came first begin before the last ones are made."""
LOG_FACTOR = 4
"""The engine keeps so many times the output that the server keeps: Podman drops what it has when its log is full."""
MIB = 1 << 20


def open_engine(settings: Settings) -> "ContainerEngine":
    """The engine of DOCKER_HOST, else Podman or Docker on this machine. Raises NoEngine."""
    connection = Connection(find_address(os.environ), os.environ)
    return ContainerEngine(
        connection,
        volumes=Volumes(settings.domains, is_local=connection.is_local),
        user=settings.container_user,
        allow_root=settings.allow_root,
        max_processes=settings.max_processes,
        log_limit_bytes=settings.output_limit_mib * MIB * LOG_FACTOR,
    )


class ContainerEngine:
    """See Engine."""

    def __init__(
        self,
        connection: Connection,
        *,
        volumes: Volumes,
        user: str = "",
        allow_root: bool = False,
        max_processes: int = 0,
        log_limit_bytes: int = 0,
    ) -> None:
        self._connection = connection
        self._volumes = volumes
        self._user = user
        self._allow_root = allow_root
        self._max_processes = max_processes
        self._log_limit_bytes = log_limit_bytes
        self._images = Images(connection)
        self._networks = Networks(connection)
        self._files = Files(connection)
        self._traits: Traits | None = None
        self._owner = ""
        self._watch: Watch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._users: dict[tuple[str, str], User] = {}
        """By the image's id and what it says of its user."""
        self._making = asyncio.Semaphore(MAX_MAKING)
        self._fresh: dict[str, tuple[str, ...]] = {}
        """By their workload's uid, containers that this server has made, and has not asked to start yet."""
        self._failing = asyncio.Event()
        self._has_listed = asyncio.Event()

    @property
    def failing(self) -> asyncio.Event:
        return self._failing

    async def open(self, owner: str, sight: Callable[[Sighting], None]) -> None:
        self._owner = owner
        self._watching = asyncio.create_task(self._watch_all(sight), name="watch of the container engine")

    async def seen_all(self) -> None:
        while not self._has_listed.is_set():
            if self._failing.is_set():
                raise EngineUnavailable(UNREACHED)  # asked again by each party, it would be asked by thousands
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_listed.wait(), RECONNECT_SECONDS)

    def host_of(self, name: str, domain: DomainSettings) -> str:
        return name

    async def create(self, workload: Workload) -> str:
        traits = await self._known_traits()
        images = [await self._images.get(program.image) for program in workload.programs]
        async with self._making:
            return await self._create(workload, images, traits)

    async def _create(self, workload: Workload, images: Sequence[Image], traits: Traits) -> str:
        users = [await self._user_of(workload, image) for image in images]
        shared = of_group(workload.owner, workload.ref.key, workload.ref.task)
        gateway = await self._networks.ensure(workload.ref.task, shared)
        source = await self._volumes.source(workload.domain, users[0], traits)
        made: list[str] = []
        are_new = True
        for index, (image, user) in enumerate(zip(images, users, strict=True)):
            around = bodies.Surroundings(
                network=workload.ref.task,
                gateway=gateway,
                domain_source=source,
                max_processes=self._max_processes,
                log=traits.log_config(self._log_limit_bytes),
                user=self._user,
                user_namespace=traits.user_namespace(user),
                is_podman=traits.is_podman,
            )
            body = bodies.body(workload, index, around, joined=made[0] if made else "")
            container, is_new = await self._make(workload, index, body)
            made.append(container.id)
            are_new &= is_new
            if container.is_created:
                await self._files.put(container.id, image.id, workload.programs[index], user)
        if not workload.domain.network_policy:
            await self._networks.ensure(workload.ref.task + OUTSIDE, shared, is_internal=False)
            await self._networks.connect(workload.ref.task + OUTSIDE, made[0])
        if are_new:
            self._fresh[made[0]] = tuple(made)
        return made[0]

    async def _make(self, workload: Workload, index: int, body: Mapping[str, Any]) -> tuple[Seen, bool]:
        """A container of the workload, and whether it is new."""
        name = bodies.container_name(workload, index)
        try:
            container = await self._make_empty(name, body)
        except EngineUnavailable:
            # What was known to be there may have been removed.
            self._images.forget(workload.programs[index].image)
            self._networks.forget(workload.ref.task)
            raise
        if container is not None:
            return bodies.new_container(workload, index, container), True
        there = await self._inspect(name)
        if there is None:
            raise EngineUnavailable(f"container {name} was there, and is not any more")
        return there, False

    async def _make_empty(self, name: str, body: Mapping[str, Any]) -> str | None:
        """The id of a new container; None if there is one of that name."""
        try:
            async with self._connection.asking() as docker:
                return str((await docker.containers.create(dict(body), name=name)).id)
        except DockerError as error:
            text = refusal(error)
            # Podman before version 4.4 answers 500.
            if error.status == CONFLICT or "already in use" in text:
                return None
            if error.status == NOT_FOUND:  # image or network were removed just now
                raise EngineUnavailable(f"its container cannot be made: {text}") from None
            raise StartFailed(f"its container cannot be made: {text}") from None

    async def _user_of(self, workload: Workload, image: Image) -> User:
        """Whom a program of the image runs as. Raises StartFailed for root, unless that is allowed."""
        text = self._user or image.user
        known = image.id, text
        if known not in self._users:
            self._users[known] = await self._find_user(workload, image, text)
        user = self._users[known]
        if user.uid == files.ROOT and not self._allow_root:
            raise StartFailed(
                "its image runs as root: let the image name another user, or set container_user, or allow_root"
            )
        return user

    async def _find_user(self, workload: Workload, image: Image, text: str) -> User:
        if (user := files.numeric_user(text)) is not None:
            return user
        # The names are in the image: only in a container they can be read.
        name = f"{workload.ref.name}.users"
        body = {
            "Image": image.id,
            "Cmd": ["none"],
            "Labels": of_group(workload.owner, workload.ref.key, workload.ref.task),
            "HostConfig": {"NetworkMode": "none"},
        }
        if (container := await self._make_empty(name, body)) is None:
            await self._delete([name])
            raise EngineUnavailable("its image is looked at")
        try:
            return await files.named_user(self._connection, container, text)
        finally:
            await self._delete([container])

    async def release(self, ref: Ref) -> None:
        if (fresh := self._fresh.pop(ref.uid, None)) is not None:
            to_start = list(fresh)
        else:
            to_start = await self._not_started(ref)
        for container in to_start:
            await self._start(container, to_start[0])

    async def _not_started(self, ref: Ref) -> list[str]:
        """The containers of a workload that have never run, in their order. Raises StartFailed if it is gone."""
        found = await self._containers(ref)
        if found and found[0].is_created:
            # An earlier request may be under way; once it is done, and the program has ended quickly, Docker and Podman
            # would run it a second time.
            await asyncio.sleep(SETTLE_SECONDS)
            found = await self._containers(ref)
        if not found:
            raise StartFailed("its container is gone")
        return [container.id for container in found if container.is_created]

    async def _start(self, container: str, first: str) -> None:
        """Start a container that has never run. What may pass is tried again, but nothing that has run. StartFailed."""
        for pause_seconds in (*START_PAUSES_SECONDS, None):
            try:
                async with self._connection.asking() as docker:
                    await ignoring(docker.containers.container(container).start(), NOT_MODIFIED)
            except DockerError as error:
                if container != first and await self._has_ended(first):
                    return  # and with it the network that this one was to share
                text = refusal(error)
                if pause_seconds is None or _is_for_good(text) or not await self._has_never_run(container):
                    raise StartFailed(f"its program cannot be started: {text}") from None
                await asyncio.sleep(pause_seconds)
            else:
                return

    async def _has_ended(self, container: str) -> bool:
        now = await self._inspect(container)
        return now is None or now.is_exited

    async def _has_never_run(self, container: str) -> bool:
        now = await self._inspect(container)
        return now is not None and now.is_created

    async def end(self, ref: Ref, grace_seconds: float) -> None:
        found = await self._containers(ref)
        if not found:
            return
        if found[0].is_created:
            await self.remove(ref)
            return
        await self._stop([each.id for each in found if not each.is_exited and not each.is_created], grace_seconds)
        if self._watch is not None:
            self._watch.order(each.id for each in found)

    async def remove(self, ref: Ref) -> None:
        removed = [each.id for each in await self._containers(ref)]
        await self._delete(removed)
        self._fresh.pop(ref.uid, None)
        if self._watch is not None:
            self._watch.forget(removed)
        if self._watch is None or not self._watch.has_group(ref.task):
            for name in (ref.task, ref.task + OUTSIDE):
                await self._networks.remove(name)

    async def logs(
        self, ref: Ref, since: Mapping[OutputStream, str], *, is_continued: bool = False
    ) -> AsyncIterator[LogPiece]:
        # Podman 4 drops lines from a log that it follows, from the container's end on: where the engine has started it
        # again at once, lines of two runs.
        may_lack = (await self._known_traits()).is_podman
        found = await self._containers(ref)
        if not found:
            return
        was_over = self._are_over(found)
        if may_lack and is_continued and (was_over or any(each.restarts for each in found)):
            raise OutputIncomplete
        ids = [each.id for each in found if not each.is_created]
        async for piece in logs.read(self._connection, ids, since, follows=not was_over):
            yield piece
        if was_over:
            return
        if not self._are_over(await self._containers(ref)):
            # It was started again, or is going to be: its output goes on.
            if not may_lack:
                raise EngineUnavailable("the output of a container that was started again is read from where it was")
            await asyncio.sleep(RECONNECT_SECONDS)
        if may_lack:
            raise OutputIncomplete

    def _are_over(self, found: Sequence[Seen]) -> bool:
        return states.are_over(found, self._watch.ordered if self._watch else ())

    async def owned(self) -> Collection[int]:
        filters = labels.filters(self._owner)
        of_networks = [job_of(each) for _, each in await self._networks.of(filters)]
        return {job for job in (*(await self._listed()).values(), *of_networks) if job is not None}

    async def remove_job(self, job: int, grace_seconds: float) -> None:
        number = str(job)
        await self._stop(await self._listed(job=number, status="running"), grace_seconds)
        await self._delete(await self._listed(job=number))
        for name, _ in await self._networks.of(labels.filters(self._owner, job=number)):
            await self._networks.remove(name)
        if await self._listed(job=number) or await self._networks.of(labels.filters(self._owner, job=number)):
            raise EngineUnavailable(f"containers or networks of job {job} are not removed yet")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._images.close()
        await self._connection.close()

    async def _watch_all(self, sight: Callable[[Sighting], None]) -> None:
        while True:
            try:
                traits = await self._known_traits()
            except EngineUnavailable as error:
                if not self._failing.is_set():
                    self._connection.complain(error)
                self._failing.set()
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                break
        self._watch = Watch(
            self._connection,
            self._owner,
            node=traits.node,
            guesses_oom=traits.is_podman,
            sight=sight,
            end=lambda containers: self._stop(containers, 0),
            failing=self._failing,
            has_listed=self._has_listed,
        )
        await self._watch.run()

    async def _known_traits(self) -> Traits:
        if self._traits is None:
            self._traits = await read_traits(self._connection)
        return self._traits

    async def _containers(self, ref: Ref) -> list[Seen]:
        """The containers of a workload in their order, as they are now; none if one of its name is another one."""
        listed = [seen.id for seen in self._watch.seen(ref.name)] if self._watch else []
        listed = listed or list(await self._listed(workload=ref.name))
        found = [seen for seen in await asyncio.gather(*map(self._inspect, listed)) if seen is not None]
        found.sort(key=lambda seen: seen.place.index)
        if found and ref.uid and found[0].place.index == 0 and found[0].id != ref.uid:
            return []
        return found

    async def _inspect(self, container: str) -> Seen | None:
        """The container as it is now; None if there is none, or if it is not ours."""
        try:
            async with self._connection.asking() as docker:
                return states.read(await docker.containers.container(container).show())
        except DockerError as error:
            if is_gone(error):
                return None
            raise EngineUnavailable(f"container {container}: {refusal(error)}") from None

    async def _listed(self, *, status: str = "", **wanted: str) -> dict[str, int | None]:
        """The ids of all containers of this store with these labels, each with the job that it belongs to."""
        filters = labels.filters(self._owner, **wanted)
        if status:
            filters["status"] = [status]
        try:
            async with self._connection.asking() as docker:
                found = await docker.containers.list(all=True, filters=filters)
        except DockerError as error:
            raise EngineUnavailable(f"containers cannot be listed: {refusal(error)}") from None
        return {each.id: job_of(each._container.get("Labels") or {}) for each in found}

    async def _stop(self, containers: Iterable[str], grace_seconds: float) -> None:
        """End the containers. They are not started again by the engine, as they would be after a kill."""
        ids = list(containers)
        if self._watch is not None:
            self._watch.order(ids)
        await all_done(self._stop_one(each, grace_seconds) for each in ids)

    async def _stop_one(self, container: str, grace_seconds: float) -> None:
        try:
            async with self._connection.waiting(grace_seconds + STOP_SECONDS) as docker:
                stopping = docker.containers.container(container).stop(t=math.ceil(grace_seconds))
                await ignoring(stopping, NOT_MODIFIED, gone=True)
        except DockerError as error:
            raise EngineUnavailable(f"container {container} cannot be stopped: {refusal(error)}") from None

    async def _delete(self, containers: Iterable[str]) -> None:
        """Delete the containers; gone is success."""
        ids = list(containers)
        failures = await asyncio.gather(*map(self._delete_one, ids), return_exceptions=True)
        # Podman deletes none before those that share its network.
        await all_done(self._delete_one(each) for each, failure in zip(ids, failures, strict=True) if failure)

    async def _delete_one(self, container: str) -> None:
        try:
            async with self._connection.asking() as docker:
                await ignoring(docker.containers.container(container).delete(force=True, v=True), gone=True)
        except DockerError as error:
            if error.status != CONFLICT:
                raise EngineUnavailable(f"container {container} cannot be removed: {refusal(error)}") from None
            await self._removed(container)

    async def _removed(self, container: str) -> None:
        """Return once a container is gone that is being deleted by another call: until then its network is in use."""
        try:
            async with self._connection.waiting(STOP_SECONDS) as docker:
                await ignoring(docker.containers.container(container).wait(condition="removed"), gone=True)
        except DockerError as error:
            raise EngineUnavailable(f"container {container} is not removed yet: {refusal(error)}") from None


def _is_for_good(refused: str) -> bool:
    """Whether a start will fail each time: the image lacks the program, or its user."""
    return any(word in refused.lower() for word in _FOR_GOOD)
