"""With run_as, programs are another user's: they read neither secrets nor other domains' files, and cannot go back."""

import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kusciajob import users
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.config import SettingsError, load
from kusciajob.security.provisioning import provision
from tests.support.images import write_image
from tests.support.limits import launcher_of_bound_process
from tests.support.polling import eventually
from tests.support.program import argv, assert_refused, kusciajob
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, clean_environment, running_server

pytestmark = pytest.mark.hostile

ALICE, BOB = 64_123, 64_124
"""Nobody's numbers."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user")

SPY = """
for path in $DATA/certs $DATA/certs/token $DATA/certs/ca.key $DATA/jobs.db $DATA/lock $DATA/shim.log $DATA $DATA/runs \
    $DATA/domains/bob $DATA/domains/bob/own; do
  ls $path >/dev/null 2>&1 && test -r $path && echo "readable: $path"
done
for way in "chown 0 $HOME" "touch $HOME/../party.json" "mv $HOME/../stderr.log $HOME/../x" "kill -0 $PPID"; do
  $way 2>/dev/null && echo "possible: $way"
done
grep -E "^(Uid|Gid|Groups|CapEff|CapPrm|NoNewPrivs|Seccomp)" /proc/self/status
echo "home: $HOME $USER $LOGNAME $(pwd)"
echo own > $HOME/file && echo x > $TMPDIR/file && echo own > $KUSCIAJOB_DOMAIN_DIR/own && echo "wrote"
cat conf/task.json >/dev/null && echo "config" >> /dev/stdout
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach: pytest's own is private."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


@pytest.fixture
async def server(place: Path) -> AsyncIterator[RunningServer]:
    images = place / "images"
    spy = ["sh", "-c", SPY.replace("$DATA", str(place / "data"))]
    write_image(images, "spy", spy)
    write_image(images, "sleep", ["sleep", "600"])
    write_image(images, "missing", ["/no/such/program"])
    async with running_server(
        place, app_image_dir=images, run_as=f"alice={ALICE}, bob={BOB}", stop_grace_seconds=0.3
    ) as server:
        yield server


def output(server: RunningServer, name: str = "stdout.log") -> str:
    (file,) = server.data_dir.glob(f"runs/1/*/0/{name}")
    return file.read_text()


@needs_root
async def test_a_program_is_another_user_and_sees_its_own_only(server: RunningServer) -> None:
    provision(server.data_dir / "certs", names=["localhost"], domains=["alice"])
    bob = server.data_dir / "domains" / "bob"
    bob.mkdir(mode=0o700)
    (bob / "own").write_text("secret")

    await create(server.stub, job_request("job", task_request("t", "spy", ["alice"])))
    assert (await ended(server.stub, "job")).state == "Succeeded", output(server, "stderr.log")

    lines = output(server).splitlines()
    facts = {name: " ".join(rest.split()) for name, _, rest in (line.partition(":") for line in lines)}
    assert "readable" not in facts, lines
    assert "possible" not in facts, lines
    assert facts["Uid"] == " ".join([str(ALICE)] * 4)
    assert facts["Gid"] == " ".join([str(ALICE)] * 4)
    assert facts["Groups"] == ""
    assert {facts["CapEff"], facts["CapPrm"]} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"
    (root,) = server.data_dir.glob("runs/1/*/0/root")
    assert facts["home"] == f"{root} {ALICE} {ALICE} {root}/work"
    assert lines[-2:] == ["wrote", "config"]
    written = server.data_dir / "domains" / "alice" / "own"
    assert written.stat().st_uid == ALICE
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


@needs_root
async def test_a_directory_prepared_for_a_domain_is_handed_over_but_not_what_is_in_it(server: RunningServer) -> None:
    alice = server.data_dir / "domains" / "alice"
    alice.mkdir()
    alice.chmod(0o755)
    (alice / "input").write_text("data")

    await create(server.stub, job_request("job", task_request("t", "spy", ["alice"])))
    assert (await ended(server.stub, "job")).state == "Succeeded"

    assert (alice.stat().st_uid, stat.S_IMODE(alice.stat().st_mode)) == (ALICE, 0o700)
    assert (alice / "input").stat().st_uid == 0


@needs_root
async def test_users_of_two_domains_run_in_one_task_and_end(server: RunningServer) -> None:
    await create(server.stub, job_request("job", task_request("t", "sleep", ["alice", "bob"])))
    await in_state(server.stub, "job", "Running")
    shim = server.shim_pid
    programs = [pid for pid in server.left_processes() if pid != shim]
    assert {os.stat(f"/proc/{pid}").st_uid for pid in programs} == {ALICE, BOB}

    await server.restart()
    await in_state(server.stub, "job", "Running")
    await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="job"))

    await eventually(lambda: len(server.left_processes()) <= 1)
    await eventually(lambda: not list((server.data_dir / "runs").iterdir()))


@needs_root
@pytest.mark.parametrize(
    ("image", "domain", "text"),
    [
        ("spy", "carol", "setting run_as names no user for domain"),
        ("missing", "alice", "program /no/such/program does not exist"),
    ],
)
async def test_a_program_that_cannot_be_started_as_its_user_is_told(
    server: RunningServer, image: str, domain: str, text: str
) -> None:
    await create(server.stub, job_request("job", task_request("t", image, [domain])))
    status = await ended(server.stub, "job")
    assert status.state == "Failed"
    assert text in status.err_msg
    assert "carol" in status.err_msg or domain != "carol"


@needs_root
async def test_a_program_that_its_user_may_not_run_is_told(place: Path) -> None:
    program = place / "private"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    write_image(place / "images", "private", [str(program)])
    async with running_server(place, app_image_dir=place / "images", run_as=str(ALICE)) as server:
        await create(server.stub, job_request("job", task_request("t", "private", ["alice"])))
        assert f"program {program} is not executable" in (await ended(server.stub, "job")).err_msg


def serve(directory: Path, run_as: str, *more: object) -> tuple[object, ...]:
    return ("serve", "--grpc-port", 0, "--http-port", -1, "--data-dir", directory, "--run-as", run_as, *more)


@needs_root
def test_what_the_users_cannot_reach_or_could_read_is_refused(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    assert_refused(kusciajob(*serve(closed, str(ALICE))), f"user {ALICE} cannot enter {closed}", "chmod o+x")
    certs = place / "certs"
    provision(certs, names=["localhost"], domains=[])
    certs.chmod(0o755)
    (certs / "token").chmod(0o644)
    refused = kusciajob(*serve(place / "data", "nobody", "--cert-dir", certs, "--log-level", "error"))
    assert_refused(refused, f"user nobody can read {certs}/token", "chmod o-r")
    bob = place / "data" / "domains" / "bob"
    bob.mkdir()
    bob.chmod(0o755)
    refused = kusciajob(*serve(place / "data", f"alice={ALICE},bob={BOB}", "--log-level", "error"))
    assert_refused(refused, f"user {ALICE} can read {bob}", "chmod o-rx")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no-such-user", "'no-such-user' is no user of this machine"),
        ("root", "is root, whose programs can read everything"),
        ("0", "is root, whose programs can read everything"),
        ("alice=", "'' is no user of this machine"),
        ("=nobody", "USER or DOMAIN=USER"),
        ("alice=nobody,alice=nobody", "USER or DOMAIN=USER"),
        ("nobody,nobody", "USER or DOMAIN=USER"),
        ("4294967295", "is no user of this machine"),
        ("-1", "is no user of this machine"),
        ("²", "is no user of this machine"),
    ],
)
def test_a_user_that_cannot_be_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match="run_as") as refused:
        load({"run_as": text}, environment={})
    assert problem in str(refused.value)


def test_domains_find_their_user_or_the_one_for_all() -> None:
    nobody = pwd.getpwnam("nobody")
    parsed = users.parse(f"nobody, alice={ALICE}, a=b={BOB}")
    assert parsed is not None
    assert parsed.of("alice") == users.User(str(ALICE), ALICE, ALICE)
    assert parsed.of("a=b") == users.User(str(BOB), BOB, BOB)
    assert parsed.of("other") == users.User("nobody", nobody.pw_uid, nobody.pw_gid)
    assert users.parse(" ") is None


@needs_root
def test_a_server_that_is_not_root_cannot_change_users(place: Path) -> None:
    place.chmod(0o777)
    command = [*launcher_of_bound_process(), *argv(*serve(place / "data", str(ALICE)))]
    refused = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert_refused(refused, "only a server that runs as root can change users")


async def test_a_server_with_secrets_tells_once_that_programs_can_read_them(tmp_path: Path) -> None:
    certs = tmp_path / "data" / "certs"
    provision(certs, names=["localhost", "127.0.0.1"], domains=[])
    async with running_server(tmp_path, runtime="process") as server:
        text = server.log.read_text()
        assert text.count("setting run_as prevents it") == 1
        assert str(certs) in text
    for name in ("simulated", "open", "values"):
        (tmp_path / name).mkdir()
    async with running_server(tmp_path / "simulated", runtime="simulated", cert_dir=certs) as server:
        assert "run_as" not in server.log.read_text()
    async with running_server(tmp_path / "open", runtime="process", protocol="notls") as server:
        assert "run_as" not in server.log.read_text()

    values = tmp_path / "values" / "data" / "domains.yaml"
    values.parent.mkdir()
    values.write_text("alice: {values: {A: secret}}\n")
    async with running_server(tmp_path / "values", runtime="process", protocol="notls") as server:
        text = server.log.read_text()
        assert text.count("setting run_as prevents it") == 1
        assert f"can read {values} (the values of all domains)" in text


def test_init_says_who_can_read_what_it_wrote(tmp_path: Path) -> None:
    result = kusciajob("init", "--dir", tmp_path / "certs")
    assert "--run-as USER" in result.stdout


@needs_root
def test_a_run_of_one_job_can_have_another_user(place: Path) -> None:
    write_image(place / "images", "whoami", ["sh", "-c", "id -u > $KUSCIAJOB_DOMAIN_DIR/uid"])
    job = place / "job.json"
    job.write_text(
        '{"job_id": "job", "initiator": "alice", "tasks": [{"alias": "t", "app_image": "whoami",'
        ' "parties": [{"domain_id": "alice"}]}]}'
    )
    run = kusciajob("run", job, "--app-image-dir", place / "images", "--run-as", ALICE, TMPDIR=str(place))
    assert run.returncode == 0, run.stderr
    (uid,) = place.glob("kusciajob-*/domains/alice/uid")
    assert uid.read_text().strip() == str(ALICE)
