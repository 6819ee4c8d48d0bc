"""The server on a database that was damaged, emptied or cut: it says so, and goes on with what there is."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.store.sqlite import landmark
from tests.support.images import write_image
from tests.support.metrics import metrics_of
from tests.support.polling import eventually
from tests.support.program import kusciajob
from tests.support.requests import create, ended, in_state, job_request, status_of, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

LONG = '{"seconds": 600}'


def change(server: RunningServer, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(server.data_dir / "jobs.db")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


async def first_events(server: RunningServer, count: int) -> list[pb.WatchJobEventResponse]:
    call = server.stub.WatchJob(pb.WatchJobRequest(timeout_seconds=60))
    events = [await call.read() for _ in range(count)]
    call.cancel()
    return [event for event in events if isinstance(event, pb.WatchJobEventResponse)]


async def doctor(server: RunningServer, *options: str) -> tuple[int, str]:
    finished = await asyncio.to_thread(kusciajob, "doctor", "--data-dir", server.data_dir, *options)
    return finished.returncode, finished.stdout + finished.stderr


def is_noted(server: RunningServer, revision: int) -> bool:
    """Whether the landmark has come that far."""
    with contextlib.suppress(OSError, ValueError):
        noted = landmark.read(server.data_dir / "jobs.head")
        return noted is not None and noted.revision >= revision
    return False


async def test_damaged_jobs_are_named_to_everybody_and_everything_else_works(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        for job_id in ("finished", "sound"):
            await create(server.stub, job_request(job_id))
            await ended(server.stub, job_id)
        for job_id in ("unfinished", "waiting"):
            await create(server.stub, job_request(job_id, task_request("t", task_input_config=LONG)))
            await in_state(server.stub, job_id, "Running")
        await server.stop()
        change(
            server,
            "UPDATE job SET status = x'00' WHERE job_id = 'finished'",
            "UPDATE job SET status = x'ff' WHERE job_id = 'unfinished'",
        )
        await server.start()

        events = await first_events(server, 4)
        assert [(event.type, event.object.job_id) for event in events] == [
            (pb.ERROR, "finished"),
            (pb.ADDED, "sound"),
            (pb.ERROR, "unfinished"),
            (pb.ADDED, "waiting"),
        ]
        assert events[0].object.status.state == "Unknown"
        assert events[0].object.status.err_msg.startswith("damaged: its status cannot be read")
        assert not events[0].object.status.create_time
        query = await server.stub.QueryJob(pb.QueryJobRequest(job_id="unfinished"))
        assert query.status.code == 11202
        assert '"unfinished" is damaged' in query.status.message
        assert "kusciajob doctor --repair" in query.status.message
        batch = await server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=["sound", "finished"]))
        assert (batch.status.code, '"finished" is damaged' in batch.status.message) == (11203, True)
        assert (await metrics_of(server))["kusciajob_damaged_rows"] == 2
        assert (await metrics_of(server))['kusciajob_jobs{state="Unknown"}'] == 2
        log = server.log.read_text()
        for job_id in ("finished", "unfinished"):
            assert log.count(f'of table job, of job "{job_id}"') == 1

        await create(server.stub, job_request("new"))
        assert (await ended(server.stub, "new")).state == "Succeeded"
        assert (await status_of(server.stub, "waiting")).state == "Running"
        code, text = await doctor(server)
        assert (code, 'of job "finished"' in text, 'of job "unfinished"' in text) == (1, True, True), text
        code, text = await doctor(server, "--repair")
        assert (code, "is in use by the server" in text) == (1, True), text
        assert (await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="unfinished"))).status.code == 0

        await server.stop()
        code, text = await doctor(server, "--repair")
        assert (code, 'job "finished" (number 1) is set aside' in text) == (0, True), text
        await server.start()
        await create(server.stub, job_request("finished"))
        assert (await ended(server.stub, "finished")).state == "Succeeded"
        assert (await metrics_of(server))["kusciajob_damaged_rows"] == 0
        assert "LOST" not in server.log.read_text()


async def test_programs_of_a_damaged_job_go_on_and_end_with_its_deletion(tmp_path: Path) -> None:
    write_image(tmp_path / "images", "sleep", ["sleep", "600"])
    async with running_server(tmp_path, app_image_dir=tmp_path / "images", stop_grace_seconds=0.5) as server:
        await create(server.stub, job_request("damaged", task_request("t", "sleep", ["alice"])))
        await in_state(server.stub, "damaged", "Running")
        programs = [pid for pid in server.left_processes() if is_program(pid)]
        assert programs
        await server.stop()
        change(server, "UPDATE job SET status = x'00'")
        await server.start()
        await create(server.stub, job_request("other", task_request("t", "sleep", ["alice"])))
        await in_state(server.stub, "other", "Running")
        assert set(programs) <= set(server.left_processes())
        for job_id in ("damaged", "other"):
            assert (await server.stub.DeleteJob(pb.DeleteJobRequest(job_id=job_id))).status.code == 0
        await eventually(lambda: not [pid for pid in server.left_processes() if is_program(pid)])
        await eventually(lambda: not list((server.data_dir / "runs").iterdir()))


def is_program(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"sleep\0" + b"600\0")
    return False


# What is gone


async def test_an_emptied_database_is_told_and_no_number_is_given_again(tmp_path: Path) -> None:
    write_image(tmp_path / "images", "sleep", ["sleep", "600"])
    async with running_server(tmp_path, app_image_dir=tmp_path / "images", stop_grace_seconds=0.5) as server:
        await create(server.stub, job_request("lost", task_request("t", "sleep", ["alice"])))
        await in_state(server.stub, "lost", "Running")
        await server.stop()
        kept = sorted(path.name for path in (server.data_dir / "runs").iterdir())
        for file in server.data_dir.glob("jobs.db*"):
            file.write_bytes(b"")
        code, text = await doctor(server)
        assert code == 1, text
        await server.start()

        assert "jobs or changes were LOST" in server.log.read_text()
        assert "1 jobs; this one has 0 jobs" in server.log.read_text()
        assert (await metrics_of(server))["kusciajob_losses"] == 1
        await create(server.stub, job_request("next", task_request("t", "sleep", ["alice"])))
        await in_state(server.stub, "next", "Running")
        names = sorted(path.name for path in (server.data_dir / "runs").iterdir())
        assert len(names) == 2
        assert set(kept) < set(names), "what is kept of lost jobs stays"
        assert max(map(int, names)) > landmark.SKIPPED_REVISIONS
        (event,) = await first_events(server, 1)
        assert event.object.job_id == "next"
        await server.restart()
        assert server.log.read_text().count("LOST") == 1, "it is found out once"
        code, text = await doctor(server)
        assert (code, "lost: at the start of" in text) == (0, True), text


async def test_a_lost_write_ahead_log_is_told(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await create(server.stub, job_request("kept"))
        await ended(server.stub, "kept")
        await server.restart()  # in order: all is in the database itself
        for number in range(5):
            await create(server.stub, job_request(f"lost-{number}"))
            await ended(server.stub, f"lost-{number}")
        head = int((await metrics_of(server))["kusciajob_revision"])
        await eventually(lambda: is_noted(server, head))
        await server.kill()
        (server.data_dir / "jobs.db-wal").unlink()
        code, text = await doctor(server)
        assert (code, "PROBLEM lost: its log ends at revision" in text) == (1, True), text
        await server.start()

        assert "it has 1 jobs, it had 6" in server.log.read_text()
        assert (await first_events(server, 1))[0].object.job_id == "kept"
        await create(server.stub, job_request("lost-0"))
        assert (await ended(server.stub, "lost-0")).state == "Succeeded"
        assert (await metrics_of(server))["kusciajob_revision"] > head + landmark.SKIPPED_REVISIONS / 2


@pytest.mark.parametrize("is_remembered", [True, False])
async def test_a_job_can_be_created_though_the_log_lost_its_newest_rows(tmp_path: Path, is_remembered: bool) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        for number in range(5):
            await create(server.stub, job_request(f"kept-{number}"))
            await ended(server.stub, f"kept-{number}")
        await server.stop()
        change(server, "DELETE FROM log WHERE revision > 3")
        if not is_remembered:
            (server.data_dir / "jobs.head").unlink()
        await server.start()

        assert "LOST" in server.log.read_text()
        assert len(await first_events(server, 5)) == 5
        for number in range(5):
            await create(server.stub, job_request(f"new-{number}"))
            assert (await ended(server.stub, f"new-{number}")).state == "Succeeded"
        await server.stub.RestartJob(pb.RestartJobRequest(job_id="kept-4"))
        assert (await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="kept-4"))).status.code == 0


async def test_jobs_that_vanished_from_the_database_are_missed(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        for number in range(3):
            await create(server.stub, job_request(f"job-{number}"))
            await ended(server.stub, f"job-{number}")
        await server.stop()
        change(server, "DELETE FROM job WHERE job_id = 'job-1'")
        await server.start()
        assert "1 jobs are missing without having been deleted" in server.log.read_text()


async def test_a_server_that_is_stopped_or_killed_and_loses_nothing_says_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await create(server.stub, job_request("job"))
        await ended(server.stub, "job")
        await server.kill()
        await server.start()
        await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="job"))
        await create(server.stub, job_request("other"))
        await server.restart()
        assert "LOST" not in server.log.read_text()
        assert (await metrics_of(server))["kusciajob_losses"] == 0


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 10_000, None])
async def test_a_landmark_that_cannot_be_read_is_told_and_made_anew(tmp_path: Path, content: bytes | None) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await server.stop()
        file = server.data_dir / "jobs.head"
        file.unlink()
        if content is None:
            file.symlink_to(server.log)
        else:
            file.write_bytes(content)
        await server.start()
        assert "jobs.head cannot be read" in server.log.read_text()
        assert "LOST" not in server.log.read_text()
        await eventually(lambda: is_noted(server, 0))


async def test_a_malformed_database_is_refused_with_its_name_and_what_to_do(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        await server.stop()
        (server.data_dir / "jobs.db").write_bytes(b"x" * 8192)
        refused = await asyncio.to_thread(
            kusciajob, "serve", "--grpc-port", 0, "--http-port", 0, "--data-dir", server.data_dir
        )
        assert refused.returncode == 1
        assert str(server.data_dir / "jobs.db") in refused.stderr
        assert "restore a copy" in refused.stderr
        assert "Traceback" not in refused.stderr
