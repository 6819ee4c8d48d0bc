"""Outputs are checked while they are written and left alone while they are not."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kusciajob.runtime.process.shim.outputs import EVENT, FAULT_SECONDS, OUTPUT_NAMES, Output, Outputs

LIMIT_BYTES = 64 << 10


@pytest.fixture
def outputs() -> Iterator[Outputs]:
    outputs = Outputs()
    yield outputs
    os.close(outputs.descriptor)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in OUTPUT_NAMES:
        (tmp_path / name).touch()
    return tmp_path


def write(directory: Path, size: int, *, name: str = "stdout.log") -> None:
    with (directory / name).open("ab") as file:
        file.write(b"x" * size)


def kept_bytes(directory: Path, *, name: str = "stdout.log") -> int:
    return (directory / name).stat().st_blocks * 512


def add(outputs: Outputs, directory: Path) -> Output:
    output = Output("1/0.1/0", str(directory), LIMIT_BYTES)
    outputs.add(output)
    return output


def become_quiet(outputs: Outputs) -> None:
    """Two checks: what was written before the first one is no news at the second."""
    outputs.check()
    outputs.check()
    assert outputs.next_check() is None
    assert not has_news(outputs)


def has_news(outputs: Outputs) -> bool:
    return bool(select.select([outputs.descriptor], [], [], 0)[0])


def test_what_is_written_is_limited_at_each_check(outputs: Outputs, directory: Path) -> None:
    add(outputs, directory)
    for name in OUTPUT_NAMES:
        write(directory, 10 * LIMIT_BYTES, name=name)
        outputs.check()
        assert kept_bytes(directory, name=name) <= LIMIT_BYTES
    assert outputs.next_check() is not None


@pytest.mark.parametrize("name", OUTPUT_NAMES)
def test_a_quiet_output_is_checked_again_when_it_is_written_to(outputs: Outputs, directory: Path, name: str) -> None:
    add(outputs, directory)
    for _ in range(3):
        become_quiet(outputs)
        write(directory, 10 * LIMIT_BYTES, name=name)
        assert has_news(outputs)
        outputs.take_news()
        assert outputs.next_check() is not None
        outputs.check()
        assert kept_bytes(directory, name=name) <= LIMIT_BYTES


def test_one_that_is_removed_is_no_news(outputs: Outputs, directory: Path) -> None:
    busy = add(outputs, directory)
    outputs.remove(busy)
    assert outputs.next_check() is None
    quiet = add(outputs, directory)
    become_quiet(outputs)
    outputs.remove(quiet)
    outputs.take_news()  # that the watch is gone
    write(directory, 1)
    assert not has_news(outputs)


def test_where_the_system_tells_nothing_an_output_is_checked_for_ever(directory: Path) -> None:
    outputs = Outputs()
    os.close(outputs.descriptor)
    outputs.descriptor = -1
    add(outputs, directory)
    for _ in range(5):
        outputs.check()
        assert outputs.next_check() is not None
    write(directory, 10 * LIMIT_BYTES)
    outputs.check()
    assert kept_bytes(directory) <= LIMIT_BYTES


def test_when_news_were_lost_all_are_checked(outputs: Outputs, directory: Path) -> None:
    add(outputs, directory)
    become_quiet(outputs)
    reader, writer = os.pipe()
    os.write(writer, EVENT.pack(-1, 0x4000, 0, 0))  # the kernel's queue has overflowed
    os.close(writer)
    os.close(outputs.descriptor)
    outputs.descriptor = reader
    outputs.take_news()
    assert outputs.next_check() is not None


def test_one_that_cannot_be_limited_does_not_keep_the_others_from_it(
    outputs: Outputs, directory: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "file"
    broken.touch()
    outputs.add(Output("1/0.1/1", str(broken), LIMIT_BYTES))
    add(outputs, directory)
    write(directory, 10 * LIMIT_BYTES)
    began = time.monotonic()
    outputs.check()
    assert kept_bytes(directory) <= LIMIT_BYTES
    next_check = outputs.next_check()
    assert next_check is not None
    assert next_check - began >= FAULT_SECONDS


class Hasty(Output):
    """Is written to in the instant between the check that finds it quiet and the request to be told of news."""

    def look(self) -> bool:
        is_written = super().look()
        if not is_written:
            write(Path(self.directory), 10 * LIMIT_BYTES)
        return is_written


def test_what_is_written_while_an_output_turns_quiet_is_limited(outputs: Outputs, directory: Path) -> None:
    outputs.add(Hasty("1/0.1/0", str(directory), LIMIT_BYTES))
    outputs.check()
    outputs.check()
    assert kept_bytes(directory) <= LIMIT_BYTES
    assert outputs.next_check() is not None
