"""`kusciajob run --logs`: what programs write, while they run."""

import glob
import re
import signal
from pathlib import Path

import pytest

from tests.support.polling import eventually_sync
from tests.support.program import job_file, kusciajob, shell_image, shell_task, started
from tests.support.screen import on_terminal

MAX_LINE_CHARACTERS = 64 * 1024


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    return ["run", "--logs", "--app-image-dir", shell_image(tmp_path), "--data-dir", tmp_path / "data"]


def marked(output: str) -> list[str]:
    """The programs' lines; those of different parties in no order."""
    return sorted(line for line in output.splitlines() if " | " in line)


def test_lines_are_shown_whole_while_the_program_runs(arguments: list[object], tmp_path: Path) -> None:
    script = f"printf 'half '; echo line; while ! test -e {tmp_path}/go; do sleep 0.05; done; printf 'no end'"
    with started(*arguments, job_file(tmp_path, "job", shell_task("intersect", script))) as running:
        seen: list[str] = []
        while len(marked("".join(seen))) < 2:
            seen.append(running.stderr.readline())
            assert seen[-1], "the program has ended"
        (tmp_path / "go").touch()
        output, errors = running.communicate(timeout=20)
    assert running.returncode == 0
    assert marked("".join(seen) + errors) == [
        f"intersect/{party} | {line}" for party in ("alice", "bob") for line in ("half line", "no end")
    ]
    assert "\x1b" not in errors
    assert " | " not in output, "stdout has the result alone"


def test_two_roles_of_a_domain_are_told_apart(arguments: list[object], tmp_path: Path) -> None:
    task = shell_task("t", "echo here")
    task["parties"] = [{"domain_id": "alice", "role": "a"}, {"domain_id": "alice", "role": "b"}, {"domain_id": "bob"}]
    finished = kusciajob(*arguments, job_file(tmp_path, "job", task))
    assert marked(finished.stderr) == ["t/alice/a | here", "t/alice/b | here", "t/bob | here"]


def test_no_program_forges_a_line_of_another_party(arguments: list[object], tmp_path: Path) -> None:
    script = r"printf 'a\rt/bob | forged\033[2K\302\205t/bob | forged\r\n'"
    file = job_file(tmp_path, "job", shell_task("t", script))
    shown = r"a\rt/bob | forged\x1b[2K\x85t/bob | forged"
    finished = kusciajob(*arguments, file)
    assert marked(finished.stderr) == [f"t/alice | {shown}", f"t/bob | {shown}"]


def test_a_line_without_end_comes_in_pieces(arguments: list[object], tmp_path: Path) -> None:
    file = job_file(tmp_path, "job", shell_task("t", "head -c 300000 /dev/zero | tr '\\0' x"))
    pieces = [line.removeprefix("t/alice | ") for line in marked(kusciajob(*arguments, file).stderr) if "alice" in line]
    assert sum(map(len, pieces)) == 300_000
    assert max(map(len, pieces)) <= 2 * MAX_LINE_CHARACTERS


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_marks_are_coloured_on_a_terminal_only(
    no_color: str, is_coloured: bool, arguments: list[object], tmp_path: Path
) -> None:
    file = job_file(tmp_path, "job", shell_task("t", "echo here"))
    with on_terminal(*arguments, file, rows=24, columns=80, NO_COLOR=no_color) as running:
        assert running.end() == 0
        written = running.written.split(" job Succeeded")[0]
    marks = re.findall(r"\x1b\[(\d+)mt/(alice|bob) \| \x1b\[0mhere\r\n", written)
    assert len(set(marks)) == (2 if is_coloured else 0), written
    assert len({colour for colour, _ in marks}) == len(marks)
    assert ("\x1b" in written) == is_coloured


def test_nobody_who_reads_holds_the_job_up_and_a_second_ctrl_c_leaves_at_once(
    arguments: list[object], tmp_path: Path
) -> None:
    script = f"head -c 3000000 /dev/zero | tr '\\0' '\\n'; touch {tmp_path}/$KUSCIA_DOMAIN_ID.done; sleep 600"
    file = job_file(tmp_path, "job", shell_task("t", script))
    with started(*arguments, file) as running:  # nobody reads its stderr, a pipe that is soon full
        eventually_sync(lambda: all((tmp_path / f"{party}.done").exists() for party in ("alice", "bob")))
        running.send_signal(signal.SIGINT)
        eventually_sync(lambda: programs_have_ended(tmp_path / "data"))
        assert running.poll() is None, "there is output yet to show"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def programs_have_ended(data: Path) -> bool:
    """Whether the server in that process went on although its output is stuck: both exits are written down."""
    return len(glob.glob(f"{data}/runs/**/exit.json", recursive=True)) == 2
