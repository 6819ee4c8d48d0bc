"""With run_as a domain's token and key are its own programs' only, in each replica and each run, and told nowhere."""

import base64
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc, log_pb2, log_pb2_grpc
from kusciajob.security.tokens import domain_file
from tests.support.images import shell_image, write_images
from tests.support.polling import eventually
from tests.support.program import assert_refused, kusciajob
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.secured import Place, secured_server, token_in, with_token

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user"),
]

USERS = {"alice": 64_123, "bob": 64_124}
CREDENTIALS = "{{.KUSCIA_API_TOKEN}} {{.KUSCIA_DOMAIN_KEY_DATA}} {{.SECRET}}\n"
OWN_VALUE = "known-to-alice-only"
# The first run fails. Replicas that wait are looked at while they run.
REPORT = """
echo run >> runs; [ "$(grep -c . runs)" = 2 ] || exit 7
echo "uid $(id -u) key $(stat -c '%u %a' kuscia/certs/client.key) config $(stat -c '%u %a' secret.conf)"
cat kuscia/certs/*.key secret.conf > /dev/null && echo readable
if [ -e "$KUSCIAJOB_DOMAIN_DIR/wait" ]; then touch here; sleep 600; fi
"""
# alice's replicas are 0 and 0.1, bob's 1 and 1.1.
SPY = """
for party in 0 0.1 1 1.1; do
  for file in kuscia/certs/client.key kuscia/certs/server.key secret.conf; do
    cat $RUNS/1/0.1/$party/root/w/$file >/dev/null 2>&1 && echo "$party $file"
  done
done
exit 0
"""


def images(runs: Path) -> list[dict[str, Any]]:
    credentials = {"secret.conf": CREDENTIALS}
    return [
        shell_image("report", REPORT, credentials, replicas=2, restart_policy="OnFailure"),
        shell_image("spy", SPY.replace("$RUNS", str(runs))),
        shell_image("path", "exit 3", {"secret.conf": "{{{.KUSCIA_API_TOKEN.x}}}"}),
        shell_image("lookup", "exit 3", {"secret.conf": "{{{.TASK_CLUSTER_DEFINE[.SECRET]}}}"}),
    ]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """One that every user can reach: pytest's own is private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(directory: Path) -> AsyncIterator[Place]:
    data = directory / "data"
    write_images(directory / "images", images(data / "runs"))
    data.mkdir()
    domains = data / "domains.yaml"
    domains.write_text(f"alice: {{values: {{SECRET: {OWN_VALUE}}}}}\nbob: {{values: {{SECRET: x}}}}\n")
    domains.chmod(0o600)
    async with secured_server(
        directory,
        runtime="process",
        app_image_dir=directory / "images",
        run_as=",".join(f"{domain}={uid}" for domain, uid in USERS.items()),
        restart_pause_seconds=0.01,
        max_restarts=1,
        stop_grace_seconds=0.3,
    ) as place:
        yield place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(place: Place) -> AsyncIterator[grpc.aio.Channel]:
    async with place.master.channel(place.server.address) as channel:
        yield channel


@pytest.fixture
def stub(place: Place, channel: grpc.aio.Channel) -> job_pb2_grpc.JobServiceStub:
    return with_token(channel, token_in(place.certs / "token"))


async def output(place: Place, channel: grpc.aio.Channel, task: pb.TaskStatus, domain: str, replica: int = 0) -> str:
    """What a replica wrote to standard output, in lines."""
    header = common_pb2.RequestHeader(custom_headers={"domain": domain})
    request = log_pb2.QueryLogRequest(header=header, task_id=task.task_id, replica_idx=replica)
    metadata = [("token", token_in(place.certs / "token"))]
    text = ""
    async for answer in log_pb2_grpc.LogServiceStub(channel).QueryLog(request, metadata=metadata):
        assert answer.status.code == 0, answer.status.message
        text += answer.log
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("kusciajob: "))


def secrets_of(place: Place) -> dict[str, bytes]:
    """By what they are: the tokens, and a line of each key, as it is and as templates give it."""
    found = {"own value": OWN_VALUE.encode(), "master's token": token_in(place.certs / "token").encode()}
    for domain in USERS:
        key = (place.certs / "domains" / f"{domain}.key").read_bytes()
        found[f"{domain}'s token"] = token_in(domain_file(place.certs, domain)).encode()
        found[f"{domain}'s key"] = key.splitlines()[5]
        found[f"{domain}'s key data"] = base64.b64encode(key)[100:160]
    return found


async def test_only_the_partys_user_reads_its_key_in_each_replica_and_after_a_restart(
    place: Place, channel: grpc.aio.Channel, stub: job_pb2_grpc.JobServiceStub
) -> None:
    report = task_request("report", "report")
    spy = task_request("spy", "spy", dependencies=["report"])
    await create(stub, job_request("own", report, spy))
    status = await ended(stub, "own")
    assert status.state == "Succeeded", status.err_msg
    reported, spied = status.tasks
    for domain, uid in USERS.items():
        for replica in range(2):
            expected = f"uid {uid} key {uid} 600 config {uid} 600\nreadable\n"
            assert await output(place, channel, reported, domain, replica) == expected
        own = ("0", "0.1") if domain == "alice" else ("1", "1.1")
        read = (await output(place, channel, spied, domain)).split("\n")[:-1]
        files = ("kuscia/certs/client.key", "kuscia/certs/server.key", "secret.conf")
        assert read == [f"{party} {file}" for party in own for file in files]


async def test_secrets_are_in_no_status_log_database_argument_or_environment(
    place: Place, stub: job_pb2_grpc.JobServiceStub
) -> None:
    alice = place.server.data_dir / "domains" / "alice"
    await eventually(alice.exists)
    (alice / "wait").touch()
    await create(stub, job_request("seen", task_request("t", "report", ["alice"])))
    await in_state(stub, "seen", "Running")
    runs = place.server.data_dir / "runs"
    await eventually(lambda: len(list(runs.glob("*/0.1/*/root/w/here"))) == 2)

    texts = {}
    for app_image in ("path", "lookup"):
        await create(stub, job_request(app_image, task_request("t", app_image, ["alice"])))
        status = await ended(stub, app_image)
        assert status.state == "Failed"
        texts[f"status of {app_image}"] = str(status).encode()
    assert b"nothing is known of {{{.KUSCIA_API_TOKEN.x}}}" in texts["status of path"]
    for pid in place.server.left_processes():
        texts[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        texts[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()
    texts["log"] = place.server.log.read_bytes()
    for file in place.server.data_dir.iterdir():
        if file.is_file() and file.name != "domains.yaml":
            texts[file.name] = file.read_bytes()
    for file in runs.glob("*/*/*/*"):
        if file.is_file():
            texts[str(file.relative_to(runs))] = file.read_bytes()

    assert len(texts) > 20
    found = [
        (what, where) for where, text in texts.items() for what, secret in secrets_of(place).items() if secret in text
    ]
    assert found == []
    await stub.DeleteJob(pb.DeleteJobRequest(job_id="seen"))
    await eventually(lambda: not list(runs.glob("*/0.1/*/root/w/here")))


async def test_values_of_domains_that_others_can_read_are_refused(directory: Path) -> None:
    data = directory / "other"
    data.mkdir()
    (data / "domains.yaml").write_text("alice: {values: {SECRET: x}}\n")
    (data / "domains.yaml").chmod(0o644)
    refused = kusciajob("serve", "--grpc-port", 0, "--http-port", -1, "--data-dir", data, "--run-as", "nobody")
    assert_refused(refused, f"user nobody can read {data}/domains.yaml", "chmod o-r")
