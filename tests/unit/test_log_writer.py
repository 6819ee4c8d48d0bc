"""Lines of the log: whatever becomes of what takes them, nobody who logs waits, and what is lost is counted."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kusciajob.telemetry.log_writer import LogWriter
from tests.support.polling import PATIENCE_SECONDS, eventually_sync

MOST_BYTES = 10_000


@contextmanager
def logger_to(descriptor: int, name: str) -> Iterator[logging.Logger]:
    """A logger whose lines are its messages; the writer is closed in the end, the descriptor is not."""
    writer = LogWriter(descriptor, most_bytes=MOST_BYTES)
    logger = logging.getLogger(f"tests.{name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(writer)
    try:
        yield logger
    finally:
        logger.removeHandler(writer)
        writer.close()


def test_lines_are_written_in_order_and_all_of_them_before_the_end(tmp_path: Path) -> None:
    file = tmp_path / "log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    with logger_to(descriptor, "order") as logger:
        for number in range(1000):
            logger.info("line %d", number)
            if number % 400 == 0:
                eventually_sync(lambda: f"line {number}\n" in file.read_text())  # noqa: B023
    os.close(descriptor)
    assert file.read_text().splitlines() == [f"line {number}" for number in range(1000)]


def test_who_logs_does_not_wait_for_a_reader_that_has_stopped_and_is_told_what_was_dropped() -> None:
    reading, writing = os.pipe()
    sent, marks = 3000, 0  # more than a pipe and the writer hold
    with logger_to(writing, "blocked") as logger:
        for _ in range(sent):
            logger.info("x" * 999)
        received = bytearray()
        os.set_blocking(reading, False)

        def read() -> bool:
            nonlocal marks
            try:
                received.extend(os.read(reading, 1 << 20))
            except BlockingIOError:
                logger.info("the end")
                marks += 1
            return b"the end\n" in received

        eventually_sync(read)
    os.close(reading)
    os.close(writing)
    lines = received.decode().splitlines()
    written = lines.count("x" * 999)
    dropped = [int(line.split()[0]) for line in lines if "records were dropped here" in line]
    assert 0 < written < sent <= written + sum(dropped) <= sent + marks


def test_what_a_full_disk_refused_is_counted_once_it_takes_lines_again(tmp_path: Path) -> None:
    file = tmp_path / "log"
    full, good = os.open("/dev/full", os.O_WRONLY), os.open(file, os.O_WRONLY | os.O_CREAT)
    descriptor = os.dup(full)
    with logger_to(descriptor, "full") as logger:
        (writer,) = logger.handlers
        for number in range(3):
            logger.info("lost %d", number)
            eventually_sync(lambda: vars(writer)["_dropped"] == number + 1)  # noqa: B023
        os.dup2(good, descriptor)
        logger.info("kept")
        eventually_sync(lambda: "kept" in file.read_text())
    for each in (full, good, descriptor):
        os.close(each)
    notice, kept = file.read_text().splitlines()
    assert notice.startswith("3 records were dropped here")
    assert kept == "kept"


def test_the_end_of_the_process_does_not_wait_long_for_a_reader_that_has_stopped() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    for _ in range(100):
        writer.handle(logging.makeLogRecord({"msg": "x" * 999}))
    closing = threading.Thread(target=writer.close, daemon=True)
    closing.start()
    closing.join(PATIENCE_SECONDS)
    assert not closing.is_alive()
    os.close(reading)  # lets the writer's thread end
    os.close(writing)
