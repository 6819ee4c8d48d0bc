"""What deploy/kubernetes-several has is what an API server takes; nothing of it is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.test_server_in_cluster import Place

OVERLAY = Path(__file__).parents[2] / "deploy" / "kubernetes-several"
KINDS = ("deployment.apps/kusciajob", "statefulset.apps/kusciajob-postgres", "poddisruptionbudget.policy/kusciajob")


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Place]:
    place = Place(cluster.kubeconfig)
    place.run("kubectl", "create", "namespace", "kusciajob")
    yield place
    place.run("kubectl", "delete", "namespace", "kusciajob")


def test_the_api_server_takes_the_overlay_for_several_servers(place: Place) -> None:
    told = place.run("kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", OVERLAY)
    for kind in KINDS:
        assert f"{kind} serverside-applied (server dry run)" in told, told
