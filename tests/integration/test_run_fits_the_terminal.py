"""Whatever the size of the terminal: what `run` shows while a job runs fits it, and its end fits what happened."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.polling import eventually_sync
from tests.support.program import Finished, job_file, kusciajob, task
from tests.support.screen import OnTerminal, columns_of, on_terminal

COUNTS = "21/60 done, 8 running, 1 failed, 30 waiting"
FAILS = {"parties": {"bob": {"exit_code": 3, "message": "no keys"}}}
SIZES = [(24, 80), (10, 40), (5, 20), (100, 200)]


def sixty_tasks(directory: Path, *, name: str = "task-{}", seconds: float = 600) -> Path:
    """A job of which 21 tasks succeed, one fails, 8 run and 30 wait for a slot."""
    scripts = [FAILS if number == 5 else {} if number < 22 else {"seconds": seconds} for number in range(60)]
    tasks = [task(name.format(number), script=script) for number, script in enumerate(scripts)]
    file = directory / "sixty.json"
    file.write_text(json.dumps({"job_id": "sixty", "initiator": "alice", "max_parallelism": 8, "tasks": tasks}))
    return file


@contextmanager
def running_sixty(directory: Path, rows: int, columns: int, *, name: str = "task-{}") -> Iterator[OnTerminal]:
    """The job on a terminal; Ctrl-C ends it."""
    file = sixty_tasks(directory, name=name)
    arguments = ("--runtime", "simulated", "--data-dir", directory / "data", file)
    with on_terminal("run", *arguments, rows=rows, columns=columns) as running:
        yield running


def frame_with(running: OnTerminal, is_wanted: Callable[[list[str]], object]) -> list[str]:
    eventually_sync(lambda: is_wanted(running.frame()))
    return running.frame()


def has_settled(columns: int) -> Callable[[list[str]], bool]:
    """Whether a frame shows the counts, as far as so many columns can."""
    return lambda frame: bool(frame) and frame[0].startswith(COUNTS[: columns - 2])


def assert_fits(frame: list[str], rows: int, columns: int) -> None:
    """It fits, what runs comes first, then what failed, and nothing that is done before these."""
    assert len(frame) < rows, "the cursor needs a line"
    assert max(map(columns_of, (line.replace("\0", "") for line in frame))) < columns
    kinds = [
        kind for line in frame[1:] for kind in re.findall("Runn|Fail|Pend|Succ|… .*(?:running|waiting|done)", line)
    ]
    order = {"Runn": 0, "running": 0, "Fail": 1, "Pend": 2, "waiting": 2, "Succ": 3, "done": 3}
    places = [order[kind.split()[-1]] for kind in kinds]
    assert places == sorted(places), frame
    assert places.count(1) == 1, frame
    assert 0 in places, frame


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_progress_fits_the_screen_and_begins_with_counts_and_what_needs_attention(
    rows: int, columns: int, tmp_path: Path
) -> None:
    with running_sixty(tmp_path, rows, columns) as running:
        frame = frame_with(running, has_settled(columns))
        assert_fits(frame, rows, columns)
        if columns >= 40:
            assert any("Failed  bob: exit code 3" in line for line in frame)
        if rows == 24:
            assert frame[-1] == "… 18 more waiting", "those that are done are told by the counts"
        if rows == 100:
            assert len(frame) == 61
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 130
        last_line = running.screen.text.split("\n", 1)[0]
        assert last_line.startswith("kusciajob: received"[:columns]), "the frame is gone"


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (10, 40)])
def test_wide_characters_count_two_columns(rows: int, columns: int, tmp_path: Path) -> None:
    with running_sixty(tmp_path, rows, columns, name="隐私求交-{}-数据对齐任务") as running:
        assert_fits(frame_with(running, has_settled(columns)), rows, columns)
        assert running.screen.wrapped == 0


def test_a_resized_terminal_is_painted_anew(tmp_path: Path) -> None:
    with running_sixty(tmp_path, 24, 90) as running:
        frame_with(running, has_settled(90))
        for rows, columns in ((24, 40), (24, 100), (10, 40), (100, 30)):
            running.resize(rows, columns)
            # What was being painted when the size changed may be left above.
            shown = frame_with(running, partial(last_overview, columns=columns))
            assert_fits(last_overview(shown, columns), rows, columns)


def last_overview(frame: list[str], columns: int) -> list[str]:
    heads = [index for index, line in enumerate(frame) if line.startswith(COUNTS[: columns - 2])]
    return frame[heads[-1] :] if heads else []


def run_quickly(tmp_path: Path, *, force_color: str = "") -> Finished:
    file = sixty_tasks(tmp_path, seconds=0)
    return kusciajob("run", "--runtime", "simulated", "--data-dir", tmp_path / "data", file, FORCE_COLOR=force_color)


def test_the_end_of_a_large_job_tells_what_failed_not_every_task(tmp_path: Path) -> None:
    finished = run_quickly(tmp_path)
    assert finished.returncode == 1
    lines = finished.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["TASK", "task-5"]
    assert re.fullmatch(r"job sixty: Failed after \d+ s, 59/60 done, 1 failed", lines[3])
    assert lines[4:] == ["task task-5, party bob: exit code 3: no keys"]


def test_without_a_terminal_the_cursor_is_not_moved(tmp_path: Path) -> None:
    finished = run_quickly(tmp_path, force_color="1")
    assert "\x1b" not in finished.stderr
    assert "sixty/task-5/bob Failed: exit code 3: no keys\n" in finished.stderr


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(tmp_path: Path) -> None:
    file = job_file(tmp_path, "job")
    arguments = ("run", "--runtime", "simulated", "--data-dir", tmp_path / "data", file)
    with on_terminal(*arguments, rows=24, columns=80, TERM="dumb") as running:
        assert running.end() == 0
        assert "\x1b" not in running.written
        assert " job/psi Succeeded" in running.written
