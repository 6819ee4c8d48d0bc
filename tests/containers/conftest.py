"""A container engine of the session's own, with an image; everything is gone in the end."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.containers.lab import IMAGES, ContainerLab
from tests.support.image_archives import archive, file_system
from tests.support.podman import PodmanService


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanService]:
    service = PodmanService(tmp_path_factory.mktemp("podman"))
    try:
        service.start()
        service.load(archive(file_system(), IMAGES))
        yield service
    finally:
        service.close()


@pytest.fixture
async def lab(podman: PodmanService, tmp_path: Path) -> AsyncIterator[ContainerLab]:
    lab = ContainerLab(podman, tmp_path)
    try:
        yield lab
    finally:
        await lab.close()
