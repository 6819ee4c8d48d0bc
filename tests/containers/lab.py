"""What the tests of containers have: an engine, images, and runtimes over them."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kusciajob.contracts import PartyKey
from kusciajob.model.appimage import Image
from kusciajob.runtime.container.connection import Connection
from kusciajob.runtime.container.engine import ContainerEngine
from kusciajob.runtime.container.volumes import Volumes
from kusciajob.runtime.hosted import names
from tests.support.container_engines import EngineAt, OwnEngine
from tests.support.polling import eventually_true
from tests.support.runtime_lab import HostedLab

GONE_SECONDS = 10.0
NAME = "localhost/kusciajob-test"
IMAGES: Mapping[str, Mapping[str, object]] = {
    f"{NAME}:1": {"User": "1000:1000", "Cmd": ["/bin/echo", "the image's own"]},
    f"{NAME}:named": {"User": "app"},
    f"{NAME}:root": {},
}


class ContainerLab(HostedLab):
    """Runtimes over the engine of the tests."""

    image = Image(NAME, "1")
    away_text = "the container engine"

    def __init__(self, engine: EngineAt, directory: Path) -> None:
        super().__init__(directory)
        self.engine = engine
        self.docker = engine.client()
        self.domains = directory / "domains"
        self._engines: list[ContainerEngine] = []

    def connect(self, **settings: Any) -> ContainerEngine:
        connection = Connection(self.engine.address, {})
        self._engines.append(ContainerEngine(connection, volumes=Volumes(self.domains, is_local=True), **settings))
        return self._engines[-1]

    async def names(self) -> Collection[str]:
        return await self.engine.existing()

    async def leftovers(self) -> Collection[str]:
        """What is still there after a while: a removal goes on for a moment after the end it belongs to."""
        left: Collection[str] = ()

        async def are_gone() -> bool:
            nonlocal left
            left = await self.engine.existing()
            return not left

        with suppress(AssertionError):
            await eventually_true(are_gone, timeout_seconds=GONE_SECONDS)
        return left

    async def remove_by_hand(self, key: PartyKey) -> None:
        await self.docker.containers.container(names.of_replica("store-1", key, 0)).delete(force=True)

    async def inspected(self, key: PartyKey, *, store_id: str = "store-1") -> dict[str, Any]:
        """What the engine has of a party."""
        return await self.docker.containers.container(names.of_replica(store_id, key, 0)).show()

    @property
    def own_engine(self) -> OwnEngine:
        """For tests with the mark `outage`."""
        assert isinstance(self.engine, OwnEngine)
        return self.engine

    async def take_away(self) -> None:
        await self._engines[-1].seen_all()  # a server that begins without an engine waits for it first
        self.own_engine.kill()

    async def bring_back(self) -> None:
        self.own_engine.start()

    async def close(self) -> None:
        await super().close()
        await self.docker.close()
        await self.engine.clear()
