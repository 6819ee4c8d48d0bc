"""The server runs in the cluster as deploy/kubernetes has it, and with no more rights than that gives it."""

from collections.abc import Iterator

import pytest

from tests.cluster import in_cluster
from tests.cluster.cluster import Cluster
from tests.cluster.in_cluster import DOMAINS, Place
from tests.support.polling import eventually_sync

ACCOUNT = "system:serviceaccount:kusciajob:kusciajob"


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("in-cluster")
    data = in_cluster.volume(directory / "data", "kusciajob-data", "ReadWriteOnce")
    greeter = in_cluster.greeter("echo I am $(cat /etc/who.txt); sleep 6")
    with in_cluster.running(cluster, directory, "kubernetes", app_image=greeter, volumes=[data]) as place:
        yield place


def test_it_runs_a_job_and_its_next_pod_takes_it_up(place: Place) -> None:
    assert place.kusciajob("health") == "SERVING\n"
    place.kusciajob("create", "-f", "-", stdin=in_cluster.job("in-cluster"))
    eventually_sync(lambda: place.job_state("in-cluster") == "Running")
    (first,) = place.pods()
    place.kubectl("delete", "pod", first)
    place.wait_ready()
    assert place.pods() != [first]

    place.kusciajob("watch", "in-cluster")
    assert place.job_state("in-cluster") == "Succeeded", place.kusciajob("get", "in-cluster")
    output = place.kusciajob("logs", "in-cluster")
    for domain in DOMAINS:
        assert output.count(f"I am {domain}") == 1, output
    place.kusciajob("delete", "in-cluster")


def test_its_rights_end_where_its_work_ends(place: Place) -> None:
    for verb, kind in (("create", "pods"), ("patch", "pods"), ("get", "pods/log"), ("create", "secrets")):
        assert place.may(ACCOUNT, verb, kind, "alice"), (verb, kind)
        assert not place.may(ACCOUNT, verb, kind, "default"), (verb, kind)
    for verb, kind in (
        ("get", "secrets"),
        ("list", "secrets"),
        ("delete", "services"),
        ("create", "pods/exec"),
        ("create", "rolebindings"),
        ("create", "namespaces"),
        ("get", "nodes"),
        ("delete", "namespaces"),
    ):
        assert not place.may(ACCOUNT, verb, kind, "alice"), (verb, kind)
