"""`kusciajob run`: one job, its server included."""

import json
import os
import pty
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.support.program import (
    END_SECONDS,
    Finished,
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


def run(*arguments: object, tmp_path: Path) -> Finished:
    """`kusciajob run` with the simulated runtime and its temporary files below tmp_path/tmp."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return kusciajob("run", "--runtime", "simulated", *arguments, TMPDIR=str(tmp_path / "tmp"))


def test_run_shows_progress_and_the_result_and_leaves_nothing(tmp_path: Path) -> None:
    file = job_file(tmp_path, "job", task(script={"seconds": 0.2}), task("report", dependencies=["psi"]))
    finished = run(file, tmp_path=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert " job/psi Running\n" in finished.stderr
    assert [line.split()[:2] for line in finished.stdout.splitlines()[:3]] == [
        ["TASK", "STATE"],
        ["psi", "Succeeded"],
        ["report", "Succeeded"],
    ]
    assert finished.stdout.splitlines()[-1].startswith("job job: Succeeded after ")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_run_of_a_failing_job_tells_the_reason_and_where_the_logs_are(tmp_path: Path) -> None:
    script = {"seconds": 0.1, "parties": {"bob": {"exit_code": 3, "message": "no keys"}}}
    finished = run(job_file(tmp_path, "job", task(script=script)), tmp_path=tmp_path)
    assert finished.returncode == 1
    assert "task psi, party bob: exit code 3: no keys" in finished.stdout
    (kept,) = (tmp_path / "tmp").iterdir()
    assert str(kept / "server.log") in finished.stderr
    assert "serving gRPC" in (kept / "server.log").read_text()


def test_run_prints_the_final_status_alone_as_json(tmp_path: Path) -> None:
    finished = run(job_file(tmp_path, "job"), "-o", "json", "--data-dir", tmp_path / "data", tmp_path=tmp_path)
    job = json.loads(finished.stdout)
    assert (job["job_id"], job["status"]["state"], finished.returncode) == ("job", "Succeeded", 0)
    assert (tmp_path / "data" / "jobs.db").exists()


def test_run_of_a_bad_job_says_why(tmp_path: Path) -> None:
    assert_refused(run(job_file(tmp_path, "Job"), tmp_path=tmp_path), '"Job"', "(code 11100)")
    assert list((tmp_path / "tmp").iterdir()) == []
    needs_images = kusciajob("run", job_file(tmp_path, "job"))
    assert_refused(needs_images, "--app-image-dir", exit_code=2)


def test_run_of_real_programs_keeps_what_there_is_to_look_at(tmp_path: Path) -> None:
    images = shell_image(tmp_path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    def run_shell(script: str) -> Finished:
        file = job_file(tmp_path, "job", shell_task("psi", script))
        return kusciajob("run", file, "--app-image-dir", images, TMPDIR=str(temporary))

    failed = run_shell("test $KUSCIA_DOMAIN_ID = bob || exec sleep 60; echo no keys >&2; exit 3")
    assert failed.returncode == 1
    assert "task psi, party bob: exit code 3: no keys" in failed.stdout
    (kept,) = temporary.iterdir()
    assert f"for the logs see {kept}/runs and {kept}/server.log" in failed.stderr
    shutil.rmtree(kept)
    assert run_shell("true").returncode == 0
    assert list(temporary.iterdir()) == []
    succeeded = run_shell("echo 1 >$KUSCIAJOB_DOMAIN_DIR/result")
    (kept,) = temporary.iterdir()
    assert f"outputs are in {kept}/domains/alice, {kept}/domains/bob; for the logs see {kept}/runs" in succeeded.stderr
    assert (kept / "domains" / "bob" / "result").read_text() == "1\n"


def test_ctrl_c_stops_the_job_before_run_ends(tmp_path: Path) -> None:
    file = job_file(tmp_path, "job", task(script={"seconds": 60}))
    with started("run", "--runtime", "simulated", "--data-dir", tmp_path / "data", file) as running:
        while "job/psi Running" not in running.stderr.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=END_SECONDS)
        assert running.returncode == 130
        assert output == ""
        told = [line for line in errors.splitlines() if line.startswith("kusciajob: ")]
        logs = f"for the logs see {tmp_path / 'data' / 'server.log'}"
        assert told == [f"kusciajob: received SIGINT: stopped the job (0/1 done, 1 failed); {logs}"]


def test_run_on_a_terminal_moves_a_table(tmp_path: Path) -> None:
    file = job_file(tmp_path, "job", task(script={"seconds": 0.8, "progress": [0.25]}))
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read_terminal, ours)
        try:
            finished = subprocess.run(
                argv("run", "--runtime", "simulated", "--data-dir", tmp_path / "data", file),
                env=environment_for(None, {"TERM": "xterm-256color", "COLUMNS": "100"}),
                stdout=subprocess.PIPE,
                stderr=theirs,
                timeout=END_SECONDS,
                check=False,
            )
        finally:
            os.close(theirs)
        shown = reading.result()
    assert finished.returncode == 0, shown
    assert "Running 25%" in shown
    assert "\x1b[" in shown
    assert b"job job: Succeeded" in finished.stdout


def read_terminal(descriptor: int) -> str:
    """All that is written to the terminal until its other end is closed."""
    shown = b""
    with suppress(OSError), open(descriptor, "rb", buffering=0) as terminal:
        while piece := terminal.read(1 << 16):
            shown += piece
    return shown.decode()


def test_run_of_a_strict_job_stops_it_at_the_first_failure_and_warns_of_what_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "strict.yaml").write_text(
        "apiVersion: kuscia.secretflow/v1alpha1\nkind: KusciaJob\nmetadata: {name: strict}\n"
        "spec:\n  initiator: alice\n  scheduleMode: Strict\n  stage: Start\n  tasks:\n"
        "  - {alias: first, appImage: a, taskInputConfig: '{\"exit_code\": 1}', parties: [{domainID: alice}]}\n"
        "  - {alias: second, appImage: a, taskInputConfig: '{}', parties: [{domainID: alice}]}\n"
    )
    finished = run(tmp_path / "strict.yaml", tmp_path=tmp_path)
    assert finished.returncode == 1
    assert 'strict.yaml: without effect here: "spec.stage"' in finished.stderr
    assert [line.split()[:2] for line in finished.stdout.splitlines()[1:3]] == [
        ["first", "Failed"],
        ["second", "Pending"],
    ]
    assert 'never started: task "first" failed (scheduleMode Strict)' in finished.stdout
