"""Three servers and their PostgreSQL run in the cluster as deploy/kubernetes-several has them."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster import in_cluster
from tests.cluster.cluster import Cluster
from tests.cluster.in_cluster import DOMAINS, Place
from tests.support.commands import END_SECONDS
from tests.support.deployed_images import postgres_image
from tests.support.polling import eventually_sync

IMAGE = "localhost/kusciajob-postgres:15"
POSTGRES = "kusciajob-postgres"
LEADS = re.compile(r"lease: server (\S+), process \d+ schedules")
SERVERS = 3
TASKS = 4


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("several-in-cluster")
    name, _, tag = IMAGE.rpartition(":")
    with in_cluster.running(
        cluster,
        directory,
        "kubernetes-several",
        app_image=in_cluster.greeter("echo I am $(cat /etc/who.txt); sleep 2"),
        volumes=[
            in_cluster.volume(directory / "shared", "kusciajob-data", "ReadWriteMany"),
            in_cluster.volume(directory / "postgres", f"data-{POSTGRES}-0", "ReadWriteOnce"),
        ],
        archives={IMAGE: postgres_image(IMAGE)},
        secrets={"kusciajob-store": secrets.token_hex(16)},
        images=[{"name": "postgres", "newName": name, "newTag": tag}],
        patches=[
            in_cluster.added("StatefulSet", POSTGRES, "/spec/volumeClaimTemplates/0/spec/storageClassName", ""),
            in_cluster.added("Service", POSTGRES, "/spec/clusterIP", "None"),
        ],
    ) as place:
        yield place


def leader(place: Place) -> str:
    """The pod that schedules, as any server's pod tells it; "" while none does."""
    told = (place.try_to(*place.inside(pod), "kusciajob", "doctor").stdout for pod in place.pods())
    return next((found[1] for text in told if (found := LEADS.search(text))), "")


def create_running(place: Place, job_id: str, pod: str) -> None:
    place.kusciajob("create", "-f", "-", pod=pod, stdin=in_cluster.job(job_id, tasks=TASKS))
    eventually_sync(lambda: place.job_state(job_id, pod=pod) == "Running")


def assert_ran_once(place: Place, job_id: str) -> None:
    """Each party of each task, and it has succeeded."""
    assert place.job_state(job_id) == "Succeeded", place.kusciajob("get", job_id)
    output = place.kusciajob("logs", job_id)
    for domain in DOMAINS:
        assert output.count(f"I am {domain}") == TASKS, output


@contextmanager
def watching(place: Place, job_id: str, pod: str) -> Iterator["subprocess.Popen[str]"]:
    """A client that follows a job on one server, from its first event on, and ends when the job has ended."""
    with place.started(*place.inside(pod), "kusciajob", "watch", job_id) as watch:
        assert watch.stdout is not None
        told = watch.stdout.readline()
        yield watch
        told += watch.stdout.read()
        watch.wait(END_SECONDS)
    assert watch.returncode == 0, told
    assert "Succeeded" in told


def test_what_one_server_takes_another_tells_and_the_store_is_sound(place: Place) -> None:
    pods = place.pods()
    assert len(pods) == SERVERS
    assert eventually_sync(lambda: leader(place)) in pods
    create_running(place, "anywhere", pods[0])
    with watching(place, "anywhere", pods[1]):
        assert place.job_state("anywhere", pod=pods[2]) == "Running"
    assert_ran_once(place, "anywhere")
    place.kusciajob("doctor")  # its exit code is 1 where there is a problem


def test_a_job_and_its_watch_outlive_the_server_that_schedules(place: Place) -> None:
    first = eventually_sync(lambda: leader(place))
    other = next(pod for pod in place.pods() if pod != first)
    create_running(place, "outlives", other)
    with watching(place, "outlives", other):
        place.kubectl("delete", "pod", first, "--grace-period=0", "--force")
        eventually_sync(lambda: leader(place) not in ("", first))
    assert_ran_once(place, "outlives")
    eventually_sync(lambda: len(place.pods()) == SERVERS)
    place.wait_ready()


def test_a_job_goes_on_while_all_servers_are_replaced_one_by_one(place: Place) -> None:
    first = place.pods()
    create_running(place, "replaced", first[0])
    place.kubectl("rollout", "restart", "deploy/kusciajob")
    place.wait_ready()
    assert not set(place.pods()) & set(first)
    place.kusciajob("watch", "replaced")
    assert_ran_once(place, "replaced")


def test_servers_and_watches_outlive_the_pod_of_postgres(place: Place) -> None:
    pod = place.pods()[0]
    create_running(place, "stored", pod)
    with watching(place, "stored", pod):
        place.kubectl("delete", "pod", f"{POSTGRES}-0")
        place.kubectl("rollout", "status", f"statefulset/{POSTGRES}", f"--timeout={END_SECONDS}s")
    assert_ran_once(place, "stored")
    eventually_sync(lambda: place.try_to(*place.inside(pod), "kusciajob", "health").stdout == "SERVING\n")
    create_running(place, "after", pod)
    place.kusciajob("watch", "after")
    assert_ran_once(place, "after")
    place.kusciajob("doctor")
