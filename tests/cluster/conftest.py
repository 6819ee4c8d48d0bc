"""Fixtures: the cluster, and a place on it where runtimes run parties."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, ClusterLab


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """That of KUBECONFIG, whose nodes must have the image of the tests; else a lab that lives as long as the tests.

    KUSCIAJOB_LAB: a directory where a lab runs already, or is started and left running.
    """
    if kubeconfig := os.environ.get("KUBECONFIG"):
        yield Cluster(Path(kubeconfig))
        return
    kept = os.environ.get("KUSCIAJOB_LAB")
    directory = Path(kept) if kept else tmp_path_factory.mktemp("lab")
    cluster = Cluster(directory / "admin.kubeconfig", directory)
    try:
        cluster.start()
        yield cluster
    finally:
        if not kept:
            cluster.stop()


@pytest.fixture
async def lab(tmp_path: Path, cluster: Cluster) -> AsyncIterator[ClusterLab]:
    lab = ClusterLab(tmp_path, cluster)
    await lab.start()
    yield lab
    await lab.close()
