"""When output arrived is noted in a bounded file that says only what is true, whatever happens to it."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob.contracts import Arrival, OutputStream
from kusciajob.files import arrivals
from kusciajob.runtime import output_files
from kusciajob.runtime.hosted.engine import LogPiece, nanoseconds
from kusciajob.runtime.hosted.kept import KeptRun, Progress
from kusciajob.runtime.process.shim.outputs import Output


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "stdout.arrivals")


def test_a_full_file_gets_coarser_and_stays_true(file: str) -> None:
    most = arrivals.MAX_RECORDS
    written = [(float(second), 10 * second) for second in range(1, 5 * most)]
    for before, record in zip([(0.0, 0), *written], written, strict=False):
        arrivals.note(file, [record], after=before[1])
    kept = arrivals.read(file)
    assert most // 2 <= len(kept) <= most
    assert os.path.getsize(file) <= len(arrivals.HEADER) + most * arrivals.RECORD.size
    assert set(kept) <= set(written)
    assert kept[-most // 4 :] == written[-most // 4 :], "the newest are as fine as they were noted"
    assert kept[0][0] < 100


def test_a_clock_that_is_set_back_leaves_times_in_order(file: str) -> None:
    arrivals.note(file, [(100.0, 1), (50.0, 2)], after=0)
    arrivals.note(file, [(60.0, 3)], after=2)
    assert arrivals.read(file) == [(100.0, 1), (100.0, 2), (100.0, 3)]


def test_what_was_written_again_has_its_new_time(file: str) -> None:
    arrivals.note(file, [(1.0, 10), (2.0, 20), (3.0, 30)], after=0)
    arrivals.note(file, [(9.0, 25)], after=10)
    assert arrivals.read(file) == [(1.0, 10), (9.0, 25)]


def test_half_a_record_is_none_and_is_written_over(file: str) -> None:
    arrivals.note(file, [(1.0, 10), (2.0, 20)], after=0)
    os.truncate(file, os.path.getsize(file) - 5)
    assert arrivals.read(file) == [(1.0, 10)]
    arrivals.note(file, [(3.0, 30)], after=20)
    assert arrivals.read(file) == [(1.0, 10), (3.0, 30)]


def test_a_file_of_another_version_is_left_as_it_is(file: str) -> None:
    content = b"version 2\nsomething else"
    Path(file).write_bytes(content)
    arrivals.note(file, [(1.0, 10)], after=0)
    assert Path(file).read_bytes() == content
    assert arrivals.read(file) == []


@pytest.mark.parametrize("other", ["link", "fifo"])
def test_what_a_link_names_is_left_alone(file: str, tmp_path: Path, other: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if other == "link":
        os.symlink(victim, file)
        os.symlink(victim, f"{file}.new")
    else:
        os.mkfifo(file)
        os.mkfifo(f"{file}.new")
    assert arrivals.read(file) == []
    arrivals.note(file, [(float(second), second) for second in range(1, 6000)], after=0)
    assert arrivals.read(file)
    assert victim.read_text() == "precious"


@given(st.binary(max_size=200))
def test_whatever_a_program_writes_there_is_read_in_order(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    file = tmp_path_factory.mktemp("junk") / "stdout.arrivals"
    for content in (junk, arrivals.HEADER + junk):
        file.write_bytes(content)
        records = arrivals.read(file)
        assert [at for at, _ in records] == sorted(at for at, _ in records)
        assert [size for _, size in records] == sorted(size for _, size in records)
        arrivals.note(str(file), [(1.0, 10)], after=0)


def output(directory: Path) -> Output:
    return Output("1/0.1/0", str(directory), None)


def write(directory: Path, text: bytes, stream: OutputStream = OutputStream.STDOUT) -> None:
    with (directory / output_files.NAMES[stream]).open("ab") as file:
        file.write(text)


def sizes(known: Sequence[Arrival]) -> list[tuple[int, int]]:
    return [(each.stdout, each.stderr) for each in known]


def test_each_look_of_the_shim_notes_what_has_grown(tmp_path: Path) -> None:
    looking = output(tmp_path)
    for stream in (OutputStream.STDOUT, OutputStream.STDERR, OutputStream.STDERR):
        write(tmp_path, b"12345", stream)
        assert looking.look()
        assert not looking.look()
    assert sizes(output_files.arrivals(tmp_path)) == [(5, 0), (5, 5), (5, 10)]


def test_output_that_is_begun_anew_has_new_times(tmp_path: Path) -> None:
    """As where a file system has no holes."""
    looking = output(tmp_path)
    write(tmp_path, b"1234567890")
    looking.look()
    os.truncate(tmp_path / "stdout.log", 0)
    write(tmp_path, b"123")
    looking.look()
    assert sizes(output_files.arrivals(tmp_path)) == [(3, 0)]


def test_output_is_limited_where_its_times_cannot_be_noted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stdout.arrivals").mkdir()
    looking = Output("1/0.1/0", str(tmp_path), 64 << 10)
    for _ in range(3):
        write(tmp_path, b"x" * (1 << 20))
        assert looking.look()
    assert (tmp_path / "stdout.log").stat().st_blocks * 512 <= 64 << 10
    assert capfd.readouterr().err.count("is not noted") == 1


def piece(second: int, text: bytes, stream: OutputStream = OutputStream.STDOUT) -> LogPiece:
    return LogPiece(stream, f"1970-01-01T00:00:{second:02}.5Z", text)


def test_an_engines_times_are_kept_and_told_once(tmp_path: Path) -> None:
    kept = KeptRun(tmp_path)
    began = kept.append([piece(1, b"a\n"), piece(3, b"b\n")], Progress(), limit_bytes=None)
    kept.append([piece(2, b"x\n", OutputStream.STDERR), piece(4, b"c\n"), piece(4, b"d\n")], began, limit_bytes=None)
    # The same again, as after a broken connection.
    kept.append([piece(2, b"x\n", OutputStream.STDERR), piece(5, b"c\n"), piece(6, b"d\n")], began, limit_bytes=None)
    known = kept.arrivals()
    assert [each.at for each in known] == [1.5, 2.5, 3.5, 5.5, 6.5]
    assert sizes(known) == [(2, 0), (2, 2), (4, 2), (6, 2), (8, 2)]


def test_whole_seconds_of_an_engine_are_not_told_as_earlier_than_they_were(tmp_path: Path) -> None:
    kept = KeptRun(tmp_path)
    seconds = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    began_at = time.time()
    kept.append(
        [LogPiece(OutputStream.STDOUT, "1970-01-01T00:00:01Z", b"a"), LogPiece(OutputStream.STDOUT, seconds, b"b")],
        Progress(),
        limit_bytes=None,
    )
    old, new = kept.arrivals()
    assert old.at == 2.0
    assert new.at >= min(began_at, nanoseconds(seconds) / 10**9 + 1)
    assert new.at <= time.time()


def test_many_pieces_at_once_have_a_bounded_number_of_times(tmp_path: Path) -> None:
    kept = KeptRun(tmp_path)
    kept.append([piece(1 + number // 1000, b"a\n") for number in range(50_000)], Progress(), limit_bytes=None)
    assert 200 < len(arrivals.read(tmp_path / "stdout.arrivals")) < 300
    assert kept.arrivals()[-1] == Arrival(50.5, 100_000, 0)


def test_output_is_kept_where_its_times_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "stdout.arrivals").mkdir()
    kept = KeptRun(tmp_path)
    assert kept.append([piece(1, b"a\n")], Progress(), limit_bytes=None).streams[OutputStream.STDOUT].size == 2
    assert (tmp_path / "stdout.log").read_bytes() == b"a\n"
    assert kept.arrivals() == []
