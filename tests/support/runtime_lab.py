"""A place where runtimes of one kind run parties, for the suite that all runtimes pass."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from kusciajob.clock import SystemClock
from kusciajob.contracts import DomainFacts, PartyKey, PartySpec
from kusciajob.model.appimage import AppImage, ConfigVolumeMount, Container, DeployTemplate, Image, Port
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import names
from kusciajob.runtime.hosted.engine import Engine, Ref
from kusciajob.runtime.hosted.runtime import HostedRuntime
from kusciajob.runtimes import AnyRuntime
from tests.support.polling import eventually, eventually_true

STOP_GRACE_SECONDS = 1.0
CONFIG = "/etc/app/config.json"


class Waits:
    """What a runtime tells of parties that have not started."""

    def __init__(self) -> None:
        self.texts: list[tuple[PartyKey, str]] = []

    def __call__(self, key: PartyKey, text: str) -> None:
        self.texts.append((key, text))

    def of(self, key: PartyKey) -> list[str]:
        return [text for known, text in self.texts if known == key]


class RuntimeLab(Protocol):
    """Each runtime that it opens is that of another server; `cut` is what a kill leaves of one."""

    image: Image
    waits: Waits

    async def open(self, *, store_id: str = "store-1", **settings: Any) -> AnyRuntime: ...

    async def cut(self, runtime: AnyRuntime) -> None: ...

    async def leftovers(self) -> Collection[str]:
        """The names of all that exists of these tests on the engine."""
        ...

    def command(self, script: str) -> tuple[str, ...]:
        """How a script for a POSIX shell is executed."""
        ...


class Killed(BaseException):
    """The server was killed at this step."""


class KillingEngine:
    """An engine whose server is killed before or after it has carried out a step."""

    def __init__(self, engine: Engine, step: str, when: str) -> None:
        self._engine = engine
        self._step = step
        self._when = when
        self.is_killed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._engine, name)
        return self._killing(inner) if name == self._step else inner

    def _killing(self, inner: Any) -> Any:
        async def call(*args: Any) -> Any:
            if self._when == "after":
                await inner(*args)
            self.is_killed.set()
            await asyncio.Event().wait()  # the server does nothing any more

        return call


class DawdlingEngine:
    """An engine that takes a while to remove anything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def remove(self, ref: Ref) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        await self._engine.remove(ref)


class HostedLab:
    """A RuntimeLab over an engine of containers or pods. A kind of engine overrides `connect` and `leftovers`."""

    image = Image("localhost/kusciajob-test", "1")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.waits = Waits()
        self._runtimes: list[HostedRuntime] = []

    def connect(self) -> Engine:
        raise NotImplementedError

    async def leftovers(self) -> Collection[str]:
        raise NotImplementedError

    def command(self, script: str) -> tuple[str, ...]:
        return ("/bin/sh", "-c", script)

    def domain(self, domain_id: str) -> DomainSettings:
        return DomainSettings(domain_id=domain_id)

    async def open(self, *, store_id: str = "store-1", engine: Any = None, **settings: Any) -> HostedRuntime:
        directory = self.directory / store_id
        directory.mkdir(exist_ok=True)
        runtime = HostedRuntime(
            engine or self.connect(),
            store_id=store_id,
            directory=directory,
            clock=SystemClock(),
            facts_of=lambda _: DomainFacts(),
            settings_of=self.domain,
            progress_url=lambda _: "",
            on_waiting=self.waits,
            stop_grace_seconds=STOP_GRACE_SECONDS,
            **settings,
        )
        self._runtimes.append(runtime)
        await runtime.open()
        return runtime

    async def cut(self, runtime: AnyRuntime) -> None:
        """All that a kill leaves is on the disk and on the engine; nothing is told in the end."""
        await runtime.close()

    async def kill(self, runtime: AnyRuntime, *calls: "asyncio.Task[None]") -> None:
        """The same, in the middle of calls."""
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await runtime.close()

    away_text = "away"
    """What is told of an engine that cannot be reached has this in it."""

    async def take_away(self) -> None:
        """The engine cannot be reached any more, soon at least; what runs goes on."""
        raise NotImplementedError

    async def bring_back(self) -> None:
        raise NotImplementedError

    async def remove_by_hand(self, key: PartyKey) -> None:
        """Somebody else removes a party's workload, whether it runs or not."""
        raise NotImplementedError

    async def names(self) -> Collection[str]:
        """The names of all workloads on the engine."""
        raise NotImplementedError

    async def created(self, key: PartyKey, *, store_id: str = "store-1") -> None:
        """Return once the party's workload is there."""
        name = names.of_replica(store_id, key, 0)

        async def is_there() -> bool:
            return name in await self.names()

        await eventually_true(is_there)

    async def gone(self, key: PartyKey, *, store_id: str = "store-1") -> None:
        """Return once the party's workload is removed."""
        name = names.of_replica(store_id, key, 0)

        async def is_gone() -> bool:
            return name not in await self.names()

        await eventually_true(is_gone)

    async def told(self, key: PartyKey, text: str) -> None:
        """Return once that was told as the reason why a party has not started."""
        await eventually(lambda: any(text in told for told in self.waits.of(key)))

    async def close(self) -> None:
        """End what tests have left."""
        for runtime in self._runtimes:
            with suppress(Exception):
                await runtime.close()


def task_of(
    lab: RuntimeLab,
    scripts: Sequence[str],
    *,
    job: int = 1,
    attempt: int = 0,
    ports: Sequence[Port] = (),
    replicas: int = 1,
    config: str = "",
    restart_policy: str = "",
    **of_container: Any,
) -> list[PartySpec]:
    """A task whose parties each run one of the scripts, for alice, bob and so on; without addresses yet."""
    names = ["alice", "bob", "carol"][: len(scripts)]
    mounts = (ConfigVolumeMount(CONFIG, "config"),) if config else ()
    image = AppImage(
        name="app",
        image=lab.image,
        config_templates={"config": config} if config else {},
        deploy_templates=tuple(
            DeployTemplate(
                name,
                (
                    Container(
                        "main",
                        command=lab.command(script),
                        ports=tuple(ports),
                        config_volume_mounts=mounts,
                        **of_container,
                    ),
                ),
                roles=(name,),
                replicas=replicas,
                restart_policy=restart_policy,
            )
            for name, script in zip(names, scripts, strict=True)
        ),
    )
    spec = JobSpec(
        job_id=f"job-{job}",
        initiator="alice",
        max_parallelism=1,
        tasks=(Task("t", "app", tuple(Party(name, name) for name in names), task_id=f"task-{job}"),),
    )
    return [PartySpec(PartyKey(job, 0, attempt, at), f"task-{job}", spec, image) for at in range(len(names))]


async def placed(runtime: AnyRuntime, parties: Sequence[PartySpec]) -> list[PartySpec]:
    """The parties with the addresses that the runtime gives them."""
    runtime.ports_needed(parties)
    endpoints = tuple(await runtime.allocate(parties))
    return [replace(party, endpoints=endpoints) for party in parties]
