"""A container engine of the session's own, with an image; everything is gone in the end."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.containers.lab import IMAGES, ContainerLab
from tests.support.image_archives import archive, file_system
from tests.support.podman import PodmanService


@pytest.fixture(scope="session")
def podman() -> Iterator[PodmanService]:
    # Not below pytest's own directory: what a killed session leaves mounted there, the next one could not remove.
    service = PodmanService(Path(tempfile.mkdtemp(prefix="kusciajob-podman-")))
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
