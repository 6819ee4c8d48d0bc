"""Fixtures: the cluster, and a place on it where runtimes run parties."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.conformance")

from tests.cluster.cluster import Cluster, ClusterLab, cache_directory  # noqa: E402


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """That of KUBECONFIG, whose nodes must have the image of the tests; else a lab that lives as long as the tests.

    KUSCIAJOB_LAB: a directory where a lab runs already, or is started and left running.
    """
    if kubeconfig := os.environ.get("KUBECONFIG"):
        yield Cluster(Path(kubeconfig))
        return
    kept = os.environ.get("KUSCIAJOB_LAB")
    # Always the same place: what a killed run has left is found, and removed first.
    directory = Path(kept) if kept else cache_directory() / "lab"
    cluster = Cluster(directory / "admin.kubeconfig", directory)
    try:
        if not kept:
            cluster.stop()
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
