"""The last lines of `kusciajob run`: what was done, where things are, and each thing once."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.polling import eventually_sync
from tests.support.program import (
    END_SECONDS,
    Finished,
    argv,
    environment_for,
    job_file,
    kusciajob,
    shell_image,
    shell_task,
    started,
    task,
)
from tests.support.screen import on_terminal


def last_line(finished: Finished) -> str:
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("kusciajob: ")]
    return line


def run_shell(tmp_path: Path, script: str, *arguments: object) -> Finished:
    """A job of real programs, with temporary files below tmp_path/tmp."""
    (tmp_path / "tmp").mkdir()
    file = job_file(tmp_path, "job", shell_task("psi", script))
    return kusciajob("run", file, "--app-image-dir", shell_image(tmp_path), *arguments, TMPDIR=str(tmp_path / "tmp"))


def test_a_run_that_keeps_nothing_says_so_and_how_to_keep_it(tmp_path: Path) -> None:
    line = last_line(run_shell(tmp_path, "true"))
    assert "wrote no files in their parties' directories, and nothing else is kept" in line
    assert "--data-dir" in line
    assert list((tmp_path / "tmp").iterdir()) == []


def test_outputs_in_the_data_directory_are_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    script = "test $KUSCIA_DOMAIN_ID = bob || echo 1 >$KUSCIAJOB_DOMAIN_DIR/result"
    line = last_line(run_shell(tmp_path, script, "--data-dir", data))
    assert line == f"kusciajob: outputs are in {data}/domains/alice; for the logs see {data}/runs and {data}/server.log"


def test_outputs_elsewhere_outlive_the_temporary_directory_and_inputs_are_none(tmp_path: Path) -> None:
    domains = tmp_path / "domains"
    for domain in ("alice", "bob"):
        (domains / domain).mkdir(parents=True)
        (domains / domain / "input").touch()
        subprocess.run(["touch", "-d", "2020-01-01", domains / domain / "input"], check=True)
    script = "test $KUSCIA_DOMAIN_ID = alice || echo 1 >$KUSCIAJOB_DOMAIN_DIR/result"
    line = last_line(run_shell(tmp_path, script, "--domains-dir", domains))
    assert line.startswith(f"kusciajob: outputs are in {domains}/bob, and nothing else is kept")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("is_together", [True, False])
def test_the_path_on_which_a_command_is_missing_is_told_once(is_together: bool, tmp_path: Path) -> None:
    images = shell_image(tmp_path)
    (images / "shell.yaml").write_text((images / "shell.yaml").read_text().replace('"sh"', '"no-such-command"'))
    file = job_file(tmp_path, "job", *(shell_task(f"t{number}", "") for number in range(5)))
    path = "/usr/bin:/bin:/of-this-test"
    finished = subprocess.run(
        argv("run", file, "--app-image-dir", images, "--data-dir", tmp_path / "data"),
        env=environment_for(None, {"PATH": path}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if is_together else subprocess.PIPE,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    for output in filter(None, (finished.stdout, finished.stderr)):
        assert output.count(path) == 1, output
        assert 'command "no-such-command" was not found on PATH' in output


def test_ctrl_c_on_a_terminal_leaves_one_line(tmp_path: Path) -> None:
    file = job_file(tmp_path, "job", task("first"), task("long", script={"seconds": 600}))
    arguments = ("run", "--runtime", "simulated", "--data-dir", tmp_path / "data", file)
    with on_terminal(*arguments, rows=24, columns=300) as running:
        eventually_sync(lambda: any("1/2 done, 1 running" in line for line in running.frame()))
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 130
        log = tmp_path / "data" / "server.log"
        line = f"kusciajob: received SIGINT: stopped the job (1/2 done, 1 failed); for the logs see {log}"
        assert running.screen.lines == [line, ""]


def test_ctrl_c_in_the_first_instant_runs_nothing(tmp_path: Path) -> None:
    file = job_file(tmp_path, "job", shell_task("t", f"touch {tmp_path}/has-run"))
    with started("run", file, "--app-image-dir", shell_image(tmp_path), "--data-dir", tmp_path / "data") as running:
        eventually_sync((tmp_path / "data" / "server.log").exists)  # signals are kept long since
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=END_SECONDS)
    assert running.returncode == 130
    assert output == ""
    assert errors.count("kusciajob: received SIGINT") == 1
    assert "Traceback" not in errors
