"""deploy/compose, by Docker: PostgreSQL, migrate, three servers and their proxy, each in a container."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers.conftest import directory
from tests.support.commands import Commands
from tests.support.container_engines import search_path
from tests.support.deployed_images import SERVER, haproxy_image, postgres_image, server_image
from tests.support.dockerd import DockerDaemon
from tests.support.polling import eventually_sync
from tests.support.program import Finished, argv

ROOT = Path(__file__).parents[2]
JOB = {
    "initiator": "alice",
    "tasks": [{"alias": "a", "app_image": "any", "parties": [{"domain_id": "alice"}, {"domain_id": "bob"}]}],
}


class Composed(Commands):
    """What Docker runs of it. Its ports are published in the network of the daemon, where clients are, too."""

    def __init__(self, place: Path, daemon: DockerDaemon) -> None:
        super().__init__({"DOCKER_HOST": daemon.address}, place)
        self._daemon = daemon

    def compose(self, *words: str) -> str:
        return self.run("docker-compose", "--project-name", "kusciajob", *words)

    def client(self, *words: str, stdin: str = "") -> Finished:
        """A command that calls the only address that is published, the proxy's."""
        return self.try_to(*self._daemon.inside, *argv(*words), stdin=stdin)

    def run_job(self, job_id: str) -> None:
        """Create it and follow it to its end; a call that comes to a server that has just gone is made again."""
        job = json.dumps({**JOB, "job_id": job_id})

        def is_stored() -> bool:
            done = self.client("create", "-f", "-", stdin=job)
            return done.returncode == 0 or "11202" in done.stderr

        eventually_sync(is_stored)
        eventually_sync(lambda: "Succeeded" in self.client("status", job_id).stdout)

    def tells(self, service: str, *job_ids: str) -> bool:
        """Whether a server tells that these jobs have succeeded."""
        inside = ("docker", "exec", f"kusciajob_{service}_1")
        told = [self.try_to(*inside, "kusciajob", "status", job_id).stdout for job_id in job_ids]
        return all("Succeeded" in text for text in told)

    def inspected(self, service: str) -> dict[str, Any]:
        """What Docker tells of a service's container."""
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", f"kusciajob_{service}_1"))
        return found[0]

    def is_ready(self) -> bool:
        """What a server says that the proxy has chosen: whether it can store."""
        return self.client("health").stdout == "SERVING\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[DockerDaemon]:
    missing = [name for name in ("dockerd", "docker-compose") if not shutil.which(name, path=search_path())]
    if missing or os.geteuid() != 0:
        pytest.skip("root, Docker and docker-compose are needed: scripts/compose.sh installs them")
    daemon = DockerDaemon(directory(), "overlay2")
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def composed(daemon: DockerDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    place = tmp_path_factory.mktemp("compose") / "own"
    shutil.copytree(ROOT / "deploy" / "compose", place)
    description = yaml.safe_load((place / "compose.yaml").read_text())
    services = description["services"]
    assert services["one"]["image"] == SERVER
    server_image(place / "server.tar")
    for image in (
        (place / "server.tar").read_bytes(),
        postgres_image(services["postgres"]["image"]),
        haproxy_image(services["proxy"]["image"]),
    ):
        asyncio.run(daemon.load(image))
    description.pop("name")  # the older docker-compose, which Debian has, takes it from the command line only
    (place / "compose.yaml").write_text(yaml.safe_dump(description))
    (place / "password").write_text("a-password-of-the-tests\n")
    composed = Composed(place, daemon)
    try:
        composed.compose("up", "--detach")
        yield composed
    finally:
        composed.compose("down", "--volumes", "--timeout", "1")


def test_jobs_run_by_one_address_and_outlive_a_server_that_is_killed(composed: Composed) -> None:
    eventually_sync(composed.is_ready)
    composed.run_job("first")
    killed = composed.inspected("one")
    os.kill(killed["State"]["Pid"], signal.SIGKILL)
    composed.run_job("meanwhile")
    eventually_sync(lambda: composed.inspected("one")["RestartCount"] == killed["RestartCount"] + 1)
    for service in ("one", "other", "third"):
        eventually_sync(partial(composed.tells, service, "first", "meanwhile"))


def test_servers_outlive_their_postgres_and_migrate_may_run_again(composed: Composed) -> None:
    eventually_sync(composed.is_ready)
    composed.compose("stop", "postgres")
    eventually_sync(lambda: not composed.is_ready())
    composed.compose("start", "postgres")
    eventually_sync(composed.is_ready)
    composed.compose("run", "--rm", "migrate")
    composed.run_job("afterwards")
    composed.compose("exec", "-T", "other", "kusciajob", "doctor")  # its exit code is 1 where there is a problem
