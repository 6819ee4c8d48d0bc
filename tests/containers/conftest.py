"""The container engine of the session, with images: that of DOCKER_HOST, else a Podman of its own.

Tests that take the engine away have one of their own, of the same kind.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.containers.lab import IMAGES, ContainerLab
from tests.support.container_engines import EngineAt, OwnEngine
from tests.support.dockerd import DockerDaemon
from tests.support.image_archives import archive, file_system
from tests.support.podman import PodmanService


@pytest.fixture(scope="session")
def images() -> bytes:
    return archive(file_system(), IMAGES)


@contextmanager
def loaded(engine: EngineAt, images: bytes) -> Iterator[None]:
    """The engine with images, and after that without all that tests have made."""
    try:
        if isinstance(engine, OwnEngine):
            engine.start()
        asyncio.run(engine.load(images))
        yield
        asyncio.run(engine.clear())
    finally:
        if isinstance(engine, OwnEngine):
            engine.close()
        else:
            asyncio.run(engine.unload(*IMAGES))


def directory() -> Path:
    """Not below pytest's own: what a killed session leaves mounted there, the next one could not remove."""
    return Path(tempfile.mkdtemp(prefix="kusciajob-engine-"))


@pytest.fixture(scope="session")
def engine(images: bytes) -> Iterator[EngineAt]:
    address = os.environ.get("DOCKER_HOST")
    engine = EngineAt(address) if address else PodmanService(directory())
    with loaded(engine, images):
        yield engine


@pytest.fixture(scope="session")
def own_engine(engine: EngineAt, images: bytes) -> Iterator[OwnEngine]:
    """An engine that tests may kill and suspend."""
    if isinstance(engine, OwnEngine):
        yield engine
        return
    facts = asyncio.run(engine.facts())
    own: OwnEngine
    if any("podman" in part["Name"].lower() for part in facts["Components"]):
        own = PodmanService(directory())
    elif os.geteuid() == 0:
        own = DockerDaemon(directory(), facts["Driver"])
    else:
        pytest.skip("only root can start a Docker of the tests' own")
    with loaded(own, images):
        yield own


@pytest.fixture
def engine_of_test(request: pytest.FixtureRequest) -> EngineAt:
    found: EngineAt = request.getfixturevalue("own_engine" if request.node.get_closest_marker("outage") else "engine")
    return found


@pytest.fixture
async def lab(engine_of_test: EngineAt, tmp_path: Path) -> AsyncIterator[ContainerLab]:
    lab = ContainerLab(engine_of_test, tmp_path)
    try:
        yield lab
    finally:
        await lab.close()
