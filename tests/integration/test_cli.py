"""The command line: the real program, against the real server."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kusciajob import config
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.client import Client
from kusciajob.testing.session import TestKit
from tests.support.program import (
    END_SECONDS,
    Addressed,
    argv,
    assert_refused,
    environment_for,
    job_file,
    kusciajob,
    shell_image,
    shell_task,
    started,
    task,
)
from tests.support.server import RunningServer, running_server


def create(server: Addressed, directory: Path, job_id: str, *tasks: dict[str, Any]) -> None:
    created = kusciajob("create", "-f", job_file(directory, job_id, *tasks), server=server)
    assert (created.returncode, created.stdout, created.stderr) == (0, f"{job_id}\n", "")


# The program as such


def test_every_command_is_listed_and_explains_itself() -> None:
    listed = kusciajob("--help").stdout.partition("Commands:\n")[2]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert {"serve", "run", "create", "get", "status", "watch", "logs", "stop", "delete", "settings"} <= set(names)
    script = (
        "import sys; from kusciajob.cli.main import cli\n"
        "for name in sys.argv[1:]: cli.main([name, '--help'], standalone_mode=False)"
    )
    helped = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=True)
    assert helped.stdout.count("Usage: ") == len(names)


def test_settings_prints_one_row_for_every_setting() -> None:
    rows = kusciajob("settings").stdout.splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [setting.flag for setting in config.describe()]


def test_version_is_told() -> None:
    told = kusciajob("--version")
    assert (told.returncode, told.stdout.split()[0]) == (0, "kusciajob")


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["get"], ["status"], ["approve", "job"], ["get", "job", "-o", "xml"], ["create", "-f", "/no"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    finished = kusciajob(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "Error: " in finished.stderr


def test_an_unreachable_server_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    assert_refused(kusciajob("get", "job", "--server", address), address, "kusciajob serve", "--server")
    assert_refused(kusciajob("watch", KUSCIAJOB_SERVER=address), address, "kusciajob serve", "--server")


# Jobs of a server


def test_a_job_is_created_watched_shown_and_deleted(kuscia: TestKit, tmp_path: Path) -> None:
    create(kuscia, tmp_path, "life", task(), task("report", dependencies=["psi"]))
    watched = kusciajob("watch", "life", server=kuscia)
    assert watched.returncode == 0, watched.stderr
    lines = [line.partition(" ")[2] for line in watched.stdout.splitlines()]
    assert lines.index("life/psi Succeeded") < lines.index("life/report Succeeded") < lines.index("life Succeeded")

    table = kusciajob("get", "life", server=kuscia).stdout
    assert table.startswith("job life: Succeeded\n")
    row = next(line for line in table.splitlines() if line.startswith("report"))
    assert row.split()[:2] == ["report", "Succeeded"]
    assert "alice, bob" in row
    line = kusciajob("status", "life", server=kuscia).stdout.splitlines()[1]
    assert line.split()[:3] == ["life", "Succeeded", "2/2"]

    deleted = kusciajob("delete", "life", server=kuscia)
    assert (deleted.returncode, deleted.stderr) == (0, "")
    assert deleted.stdout == "deleted job life: it was Succeeded\n"
    assert_refused(kusciajob("get", "life", server=kuscia), '"life" not found', "(code 11202)")


def test_json_output_is_one_object_with_kuscias_field_names(kuscia: TestKit, tmp_path: Path) -> None:
    file = job_file(tmp_path, "json")
    assert json.loads(kusciajob("create", "-f", file, "-o", "json", server=kuscia).stdout) == {"job_id": "json"}
    assert kusciajob("watch", "json", server=kuscia).returncode == 0
    job = json.loads(kusciajob("get", "json", "-o", "json", server=kuscia).stdout)
    assert (job["max_parallelism"], job["status"]["tasks"][0]["parties"][1]["domain_id"]) == (1, "bob")
    statuses = json.loads(kusciajob("status", "json", "json", "-o", "json", server=kuscia).stdout)
    assert [job["status"]["state"] for job in statuses["jobs"]] == ["Succeeded", "Succeeded"]
    assert json.loads(kusciajob("delete", "json", "-o", "json", server=kuscia).stdout) == {"job_id": "json"}


def test_a_job_may_come_from_stdin(kuscia: TestKit, tmp_path: Path) -> None:
    text = job_file(tmp_path, "stdin").read_text()
    assert kusciajob("create", "-f", "-", server=kuscia, stdin=text).stdout == "stdin\n"


def test_a_refused_job_is_told_with_its_code(kuscia: TestKit, tmp_path: Path) -> None:
    create(kuscia, tmp_path, "refused")
    create(kuscia, tmp_path, "refused")
    other = job_file(tmp_path, "refused", task("other"))
    assert_refused(kusciajob("create", "-f", other, server=kuscia), "already exists", "(code 11201)")
    cyclic = job_file(tmp_path, "cyclic", task(dependencies=["psi"]))
    assert_refused(kusciajob("create", "-f", cyclic, server=kuscia), "psi", "(code 11100)")
    broken = tmp_path / "broken.json"
    broken.write_text('{"job_id": "broken", "tasksk": []}')
    assert_refused(kusciajob("create", "-f", broken, server=kuscia), str(broken), "tasksk")


def test_watching_a_job_that_fails_ends_with_1_and_its_reason(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task(party="bob").fails(code=3, message="no \x1b[31mkeys")
    create(kuscia, tmp_path, "fails")
    watched = kusciajob("watch", "fails", server=kuscia)
    assert (watched.returncode, watched.stderr) == (1, "kusciajob: job fails ended: Failed\n")
    assert "fails/psi/bob Failed: exit code 3: no \\x1b[31mkeys\n" in watched.stdout
    assert "bob Failed" in kusciajob("get", "fails", server=kuscia).stdout


def test_watch_as_json_has_one_event_a_line(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task(job="events").progresses(0.25, 0.5, 0.75).succeeds(after="1h")
    create(kuscia, tmp_path, "before")
    with started("watch", "-o", "json", server=kuscia) as watching:
        # It watches, before what is to be seen can be over.
        assert json.loads(watching.stdout.readline())["type"] == "ADDED"
        create(kuscia, tmp_path, "events")
        events: list[dict[str, Any]] = []
        while not events or events[-1]["object"]["status"]["state"] != "Succeeded":
            event = json.loads(watching.stdout.readline())
            events += [event] if event["object"]["job_id"] == "events" else []
    assert events[0]["type"] == "ADDED"
    assert {event["type"] for event in events[1:]} == {"MODIFIED"}
    told = [event["object"]["status"]["tasks"][0]["progress"] for event in events]
    assert list(dict.fromkeys(told)) == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.kuscia(clock="machine")
def test_watch_ends_after_the_timeout(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().hangs()
    create(kuscia, tmp_path, "slow")
    with (
        started("watch", "--timeout", 1, server=kuscia) as all_jobs,
        started("watch", "slow", "--timeout", 1, server=kuscia) as one_job,
    ):
        output, _ = all_jobs.communicate(timeout=END_SECONDS)
        assert all_jobs.returncode == 0
        assert " slow Running\n" in output
        _, errors = one_job.communicate(timeout=END_SECONDS)
        assert one_job.returncode == 1
        assert "job slow is not finished after 1 seconds" in errors
    assert_refused(kusciajob("watch", "absent", server=kuscia), '"absent"', "(code 11203)")


def test_a_stopped_job_tells_who_stopped_it_and_why(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().hangs()
    create(kuscia, tmp_path, "stopped")
    assert kusciajob("stop", "stopped", "--reason", "wrong table", server=kuscia).returncode == 0
    assert kusciajob("watch", "stopped", server=kuscia).returncode == 1
    shown = kusciajob("get", "stopped", server=kuscia).stdout
    assert shown.startswith("job stopped: Failed\nParty: master execute the cmd: Stop. Reason: wrong table\n")


def test_a_job_is_suspended_restarted_and_cancelled(kuscia: TestKit, kuscia_client: Client, tmp_path: Path) -> None:
    kuscia.task().hangs()
    create(kuscia, tmp_path, "paused")
    for command, state in (("suspend", "Suspended"), ("restart", "Running"), ("cancel", "Cancelled")):
        kuscia.settle()
        finished = kusciajob(command, "paused", "--reason", "test", server=kuscia)
        assert finished.returncode == 0, finished.stderr
        kuscia.settle()
        assert kuscia_client.job("paused").status().state == state
    assert_refused(kusciajob("suspend", "paused", server=kuscia), "(code 11210)")
    assert_refused(kusciajob("approve", "paused", "--reject", server=kuscia), "(code 11206)")


def test_watch_ends_quietly_when_nobody_reads_it_any_more(kuscia: TestKit, tmp_path: Path) -> None:
    kuscia.task().hangs()
    create(kuscia, tmp_path, "piped")
    with started("watch", "piped", server=kuscia) as watching:
        assert watching.stdout.readline()
        watching.stdout.close()
        assert watching.wait(END_SECONDS) == 1
        assert watching.stderr.read() == ""


def test_ctrl_c_ends_watch_quietly(kuscia: TestKit, tmp_path: Path) -> None:
    create(kuscia, tmp_path, "watched")
    with started("watch", server=kuscia) as watching:
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(END_SECONDS) == 130
        assert watching.stderr.read().strip() == ""


async def test_watch_connects_again_after_a_restart_of_the_server(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await asyncio.to_thread(create, server, tmp_path, "again", task(script={"seconds": 600}))
        watching = await asyncio.create_subprocess_exec(
            *argv("watch", "again"),
            env=environment_for(server, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watching.stdout
        assert b"again Running" in await watching.stdout.readline()
        await server.kill()
        await server.restart()
        await asyncio.to_thread(kusciajob, "cancel", "again", server=server)
        output, errors = await asyncio.wait_for(watching.communicate(), END_SECONDS)
        assert watching.returncode == 1
        assert b" again Cancelled: " in output.splitlines()[-1]
        assert b"connection lost, trying again" in errors


# kusciajob logs


async def test_logs_prints_what_programs_write(tmp_path: Path) -> None:
    async with running_server(tmp_path, app_image_dir=shell_image(tmp_path)) as server:
        once = "echo $TASK_ID $KUSCIA_DOMAIN_ID"
        tasks = [shell_task("one", once), shell_task("two", "sleep 1; echo end", dependencies=["one"])]
        await asyncio.to_thread(create, server, tmp_path, "told", *tasks)
        async with asyncio.timeout(END_SECONDS):
            async for event in server.stub.WatchJob(pb.WatchJobRequest()):
                if event.object.status.tasks[1].state == "Running":
                    break
        followed = await asyncio.to_thread(kusciajob, "logs", "told", "--follow", server=server)
        assert followed.returncode == 0, followed.stderr
        assert {"two alice | end", "two bob | end"} <= set(followed.stdout.splitlines())
        line = next(line for line in followed.stdout.splitlines() if line.startswith("one bob | "))
        task_id = line.split()[3]
        one_task = await asyncio.to_thread(kusciajob, "logs", task_id, server=server)
        assert one_task.stdout == f"{task_id} alice\n"
        one_party = await asyncio.to_thread(kusciajob, "logs", "told", "--task", "one", "--party", "bob", server=server)
        assert one_party.stdout == f"{task_id} bob\n"
        nobody = await asyncio.to_thread(kusciajob, "logs", "told", "--party", "carol", server=server)
        assert_refused(nobody, "told", "carol")
        unknown = await asyncio.to_thread(kusciajob, "logs", "absent", server=server)
        assert_refused(unknown, '"absent"', "(code 13200)")


# kusciajob serve


async def test_serve_stops_in_order_and_finds_its_jobs_again(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated", log_format="json") as server:
        await asyncio.to_thread(create, server, tmp_path, "kept", task(script={"seconds": 60}))
        assert await server.stop() == 0
        entries = [json.loads(line) for line in server.log.read_text().splitlines()]
        assert [entry["message"] for entry in entries if "SIGTERM" in entry["message"]]
        assert {"time", "level", "logger", "message"} <= set(entries[0])
        await server.start()
        shown = await asyncio.to_thread(kusciajob, "get", "kept", server=server)
        assert shown.returncode == 0, shown.stderr


def test_a_data_directory_serves_one_server(server: RunningServer) -> None:
    refused = kusciajob("serve", "--grpc-port", 0, "--http-port", 0, "--data-dir", server.data_dir)
    assert_refused(refused, str(server.data_dir), f"process id {server.process.pid}", "--data-dir")


def test_a_taken_port_is_refused(kuscia: TestKit, tmp_path: Path) -> None:
    port = kuscia.address.rpartition(":")[2]
    refused = kusciajob(
        "serve", "--grpc-port", port, "--http-port", 0, "--data-dir", tmp_path / "data", "--log-level", "error"
    )
    assert_refused(refused, kuscia.address)


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(
        kusciajob("serve", "--grpc-port", 0, "--http-port", 0, "--data-dir", tmp_path / "file" / "data"), "file"
    )


def test_bad_settings_are_wrong_usage(tmp_path: Path) -> None:
    by_flag = kusciajob("serve", "--grpc-port", "many", "--data-dir", tmp_path)
    assert_refused(by_flag, "grpc_port", "'many'", exit_code=2)
    file = tmp_path / "settings.toml"
    file.write_text("grpc_prot = 0\n")
    assert_refused(kusciajob("serve", "--config", file), str(file), "grpc_prot", exit_code=2)
