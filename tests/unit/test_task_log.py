"""What ReadTaskLog tells equals what was written, from wherever it is read."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kusciajob.contracts import OutputPiece, OutputStream, PartyKey
from kusciajob.model.errors import InvalidJob, NotAllowed, TaskNotFound
from kusciajob.model.job import Party, Task
from kusciajob.model.status import Ended, Job, Started, TaskState
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases import log_lines, logs
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.log_lines import LogLine
from kusciajob.usecases.logs import LogQuery, PartyRun, TaskOutput
from tests.support.builders import job_spec, new_job
from tests.support.outputs import WrittenOutput
from tests.support.polling import eventually, give_way
from tests.support.runtimes import ManualRuntime

STDOUT, STDERR = OutputStream
TASK = "the-task"
PARTIES = (Party("alice", "host"), Party("alice", "guest"), Party("bob", "guest"))


async def open_output(source: WrittenOutput, *, attempt: int = 2, is_running: bool = True) -> tuple[TaskOutput, Job]:
    """The log of a task whose newest attempt runs, or has ended."""
    job = new_job(job_spec(tasks=[Task("t", "app", PARTIES, task_id=TASK)]))
    store = MemoryStore()
    job = await store.create(evolved(job, attempt=attempt, is_running=is_running))
    return TaskOutput(store=store, runtime=ManualRuntime(), source=source, images=AnyImage()), job


def evolved(job: Job, *, attempt: int, is_running: bool) -> Job:
    (task,) = job.status.tasks
    phase = Started(TaskState.RUNNING, 1.0) if is_running else Ended(TaskState.SUCCEEDED, 1.0, 2.0)
    parties = tuple(replace(party, state=phase.state) for party in task.parties)
    task = replace(task, phase=phase, attempt=attempt, parties=parties)
    return replace(job, status=replace(job.status, tasks=(task,)))


async def read(output: TaskOutput, query: LogQuery, caller: Caller = MASTER) -> list[LogLine]:
    return [line async for lines in reading(output, query, caller) for line in lines]


async def reading(output: TaskOutput, query: LogQuery, caller: Caller = MASTER) -> AsyncIterator[Sequence[LogLine]]:
    """What the first of the runs has written."""
    first, *_ = await output.find_all(query, caller)
    async for _, lines in output.lines(query, [first], caller):
        yield lines


def joined(lines: Sequence[LogLine], stream: OutputStream | None = None) -> str:
    return "".join(line.text + ("" if line.is_partial else "\n") for line in lines if stream in (None, line.stream))


def is_boundary(data: bytes, offset: int) -> bool:
    return decoded(data[:offset]) + decoded(data[offset:]) == decoded(data)


def decoded(data: bytes) -> str:
    return data.decode(errors="replace")


Plain = tuple[int, int, int, str, int, float | None, bool]


def expected_lines(source: WrittenOutput, stream: OutputStream, start: int, since: float | None) -> list[Plain]:
    """As a naive reader would tell them, each with what they are ordered by."""
    data = bytes(source.written[stream])
    told: list[Plain] = []
    offset = start
    for raw in split(data[start:]):
        end = offset + len(raw)
        counts = [(each.at, each.stdout if stream is STDOUT else each.stderr) for each in source.known]
        place = next((at for at, (_, count) in enumerate(counts) if count >= end), len(counts))
        at = counts[place][0] if place < len(counts) else None
        if since is None or at is None or at >= since:
            rank = list(OutputStream).index(stream)
            told.append((place, rank, offset, decoded(raw.removesuffix(b"\n")), end, at, not raw.endswith(b"\n")))
        offset = end
    return told


def split(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def plain(line: LogLine) -> tuple[str, int, str, int, float | None, bool]:
    return line.stream.value, line.offset, line.text, line.end_offset, line.at, line.is_partial


CHUNKS = st.one_of(
    st.sampled_from([b"\n", b"a\n", b"", "ä€😀".encode(), "ö\n".encode(), b"\xe2\x82", b"\xff", b"\x80", b"\xf0\x9f"]),
    st.binary(max_size=12),
    st.text(max_size=6).map(str.encode),
)
WRITES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), CHUNKS, st.booleans()), max_size=12)
QUERIES = st.builds(
    LogQuery,
    task_id=st.just(TASK),
    attempt=st.sampled_from([1, 2]),
    tail_lines=st.one_of(st.none(), st.integers(0, 8)),
    since=st.one_of(st.none(), st.integers(0, 14).map(float)),
)


def written(writes: Sequence[tuple[OutputStream, bytes, bool]], piece_bytes: int) -> WrittenOutput:
    source = WrittenOutput(piece_bytes=piece_bytes)
    for number, (stream, data, is_noted) in enumerate(writes, start=1):
        source.write(stream, data, at=float(number) if is_noted else None)
    return source


PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(writes=WRITES, query=QUERIES, piece_bytes=st.integers(1, 20), span_bytes=st.integers(1, 9))
async def test_both_streams_are_told_in_order_of_arrival_from_any_place(
    writes: list[tuple[OutputStream, bytes, bool]], query: LogQuery, piece_bytes: int, span_bytes: int
) -> None:
    source = written(writes, piece_bytes)
    output, _ = await open_output(source, is_running=False)
    with patch.object(log_lines, "SPAN_BYTES", span_bytes):
        told = await read(output, query)
    expected = sorted(line for stream in OutputStream for line in expected_lines(source, stream, 0, query.since))
    if query.tail_lines is not None:
        expected = expected[max(0, len(expected) - query.tail_lines) :]
    names = [stream.value for stream in OutputStream]
    assert list(map(plain, told)) == [(names[rank], *line) for _, rank, *line in expected]


@PROPERTY
@given(
    writes=WRITES,
    query=QUERIES,
    offset=st.integers(0, 60),
    stream=st.sampled_from([STDOUT, STDERR]),
    piece_bytes=st.integers(1, 20),
    span_bytes=st.integers(1, 9),
)
async def test_a_stream_is_told_from_any_place(
    *,
    writes: list[tuple[OutputStream, bytes, bool]],
    query: LogQuery,
    offset: int,
    stream: OutputStream,
    piece_bytes: int,
    span_bytes: int,
) -> None:
    source = written(writes, piece_bytes)
    data = bytes(source.written[stream])
    output, _ = await open_output(source, is_running=False)
    with patch.object(log_lines, "SPAN_BYTES", span_bytes):
        from_there = await read(output, LogQuery(TASK, stream=stream, offset=offset))
        told = await read(output, replace(query, stream=stream, offset=offset))
    start = from_there[0].offset if from_there else len(data)
    assert offset - 3 <= start <= offset or start == len(data) <= offset
    assert is_boundary(data, start)
    assert joined(from_there) == decoded(data[start:])
    expected = expected_lines(source, stream, start, query.since)
    if query.tail_lines is not None:
        expected = expected[max(0, len(expected) - query.tail_lines) :]
    assert list(map(plain, told)) == [(stream.value, *line) for _, _, *line in expected]


@PROPERTY
@example(data=b"a\n\xe2\x82", tail_lines=None, offset=5, piece_bytes=1, line_bytes=4)
@given(
    data=st.lists(CHUNKS, max_size=12).map(b"".join),
    tail_lines=st.one_of(st.none(), st.integers(0, 5)),
    offset=st.integers(0, 60),
    piece_bytes=st.integers(1, 20),
    line_bytes=st.integers(4, 9),
)
async def test_long_lines_come_in_pieces_of_whole_characters(
    data: bytes, tail_lines: int | None, offset: int, piece_bytes: int, line_bytes: int
) -> None:
    source = written([(STDOUT, data, True)], piece_bytes)
    output, _ = await open_output(source, is_running=False)
    with patch.object(log_lines, "MAX_LINE_BYTES", line_bytes):
        told = await read(output, LogQuery(TASK, stream=STDOUT, offset=offset, tail_lines=tail_lines))
    assert all(line.end_offset - line.offset <= line_bytes + (not line.is_partial) for line in told)
    assert [line.end_offset for line in told[:-1]] == [line.offset for line in told[1:]]
    assert all(is_boundary(data, line.offset) for line in told)
    if told:
        assert joined(told) == decoded(data[told[0].offset :])
        assert told[-1].end_offset == len(data)
    else:
        assert tail_lines == 0 or offset >= len(data)


@PROPERTY
@given(
    writes=WRITES,
    stream=st.sampled_from([None, STDOUT, STDERR]),
    piece_bytes=st.integers(1, 20),
    line_bytes=st.sampled_from([4, 7, 64 * 1024]),
)
async def test_who_follows_is_told_all_once(
    writes: list[tuple[OutputStream, bytes, bool]], stream: OutputStream | None, piece_bytes: int, line_bytes: int
) -> None:
    source = WrittenOutput(piece_bytes=piece_bytes)
    output, job = await open_output(source)

    async def go_on() -> None:
        for number, (where, data, is_noted) in enumerate(writes, start=1):
            source.write(where, data, at=float(number) if is_noted else None)
            for _ in range(number % 4):
                await asyncio.sleep(0)
        await output._store.replace(evolved(job, attempt=2, is_running=False))

    with patch.object(log_lines, "MAX_LINE_BYTES", line_bytes), patch.object(logs, "POLL_SECONDS", 0):
        going_on = asyncio.create_task(go_on())
        told = await read(output, LogQuery(TASK, stream=stream, follow=True))
        await going_on
    for each in [stream] if stream else OutputStream:
        own = [line for line in told if line.stream is each]
        assert joined(own) == decoded(bytes(source.written[each]))
        assert [line.offset for line in own] == [0, *(line.end_offset for line in own)][: len(own)]


@PROPERTY
@given(
    data=st.lists(CHUNKS, min_size=1, max_size=12).map(b"".join),
    gone=st.integers(0, 60),
    piece_bytes=st.integers(1, 20),
    tail_lines=st.one_of(st.none(), st.integers(1, 5)),
)
async def test_dropped_output_is_told_and_no_character_is_begun_in_its_middle(
    data: bytes, gone: int, piece_bytes: int, tail_lines: int | None
) -> None:
    source = written([(STDOUT, data, True)], piece_bytes)
    source.gone[STDOUT] = gone = min(gone, len(data))
    output, _ = await open_output(source, is_running=False)
    told = await read(output, LogQuery(TASK, stream=STDOUT, tail_lines=tail_lines))
    if not told:
        assert all(byte & 0xC0 == 0x80 for byte in data[gone:])
        return
    first = told[0]
    assert joined(told) == decoded(data[first.offset :])
    assert not any(line.dropped_bytes for line in told[1:])
    if first.dropped_bytes:
        assert first.dropped_bytes == first.offset
        assert 0 <= first.offset - gone <= 3
        assert all(byte & 0xC0 == 0x80 for byte in data[gone : first.offset])
    else:
        assert gone == 0 or len(told) == tail_lines


async def test_what_is_dropped_while_it_is_read_is_told() -> None:
    source = WrittenOutput(piece_bytes=7)
    source.write(STDOUT, b"one\nt\xe2\x82\xacwo")
    output, _ = await open_output(source)
    query = LogQuery(TASK, stream=STDOUT)
    told: list[LogLine] = []
    async for lines in reading(output, query):
        told += lines
        source.written[STDOUT][10:] = b" and much more\nend\n"
        source.gone[STDOUT] = 12
    assert [(line.text, line.offset, line.is_partial, line.dropped_bytes) for line in told] == [
        ("one", 0, False, 0),
        ("t", 4, True, 0),
        ("nd much", 12, True, 7),
    ]


async def test_output_that_is_begun_anew_is_told_from_its_beginning() -> None:
    source = WrittenOutput()
    source.write(STDOUT, b"one\nrest")
    output, job = await open_output(source)
    query = LogQuery(TASK, stream=STDOUT, follow=True)
    told: list[LogLine] = []
    with patch.object(logs, "POLL_SECONDS", 0):
        async for lines in reading(output, query):
            told += lines
            source.written[STDOUT][:] = b"two\n"
            if len(told) == 2:
                await output._store.replace(evolved(job, attempt=3, is_running=True))
    assert [(line.text, line.offset) for line in told] == [("one", 0), ("rest", 4), ("two", 0)]


async def test_half_of_a_character_is_left_for_who_reads_on() -> None:
    source = WrittenOutput()
    source.write(STDOUT, "one\n1 €".encode()[:-1])
    output, _ = await open_output(source)
    told = await read(output, LogQuery(TASK, stream=STDOUT))
    assert [(line.text, line.is_partial) for line in told] == [("one", False), ("1 ", True)]
    source.write(STDOUT, "€\n".encode()[2:])
    assert joined(await read(output, LogQuery(TASK, stream=STDOUT, offset=told[-1].end_offset))) == "€\n"


async def test_without_times_stdout_comes_before_stderr() -> None:
    source = written([(STDERR, b"e1\n", False), (STDOUT, b"o1\n", False), (STDERR, b"e2\n", False)], 100)
    output, _ = await open_output(source)
    told = await read(output, LogQuery(TASK, since=99.0))
    assert [(line.text, line.at) for line in told] == [("o1", None), ("e1", None), ("e2", None)]


class EndlessOutput(WrittenOutput):
    """Much is written, and nothing of it is in memory."""

    def __init__(self, text: bytes, size: int) -> None:
        super().__init__()
        self._text = text * (128 * 1024 // len(text))
        self._period = len(text)
        self._size = size

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        return self._size

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        begin = offset % self._period
        data = self._text[begin : begin + min(64 * 1024, self._size - offset)]
        self.read_bytes += len(data)
        return OutputPiece(offset, data)


@pytest.mark.parametrize("text", [b"x" * 4095 + b"\n", b"x" * 4096], ids=["lines", "one line"])
async def test_any_output_is_read_in_bounded_memory(text: bytes) -> None:
    size = 16 << 20
    output, _ = await open_output(EndlessOutput(text, size))
    count = 0
    gc.collect()
    tracemalloc.start()
    try:
        for tail_lines in (None, 1_000_000):
            query = LogQuery(TASK, tail_lines=tail_lines)
            async for lines in reading(output, query):
                count += sum(line.end_offset - line.offset for line in lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 4 * size  # both streams, twice
    assert peak < 3 << 20


async def test_the_tail_of_a_gigabyte_is_read_from_its_end() -> None:
    source = EndlessOutput(b"x" * 1023 + b"\n", 1 << 30)
    output, _ = await open_output(source)
    assert len(await read(output, LogQuery(TASK, stream=STDOUT, tail_lines=10))) == 10
    assert source.read_bytes < 1 << 20


async def test_each_party_and_each_attempt_has_its_own_log() -> None:
    source = WrittenOutput()
    output, job = await open_output(source, attempt=3)

    async def found(caller: Caller = MASTER, **query: object) -> PartyKey:
        return await output.find(LogQuery(TASK, **query), caller)  # type: ignore[arg-type]

    def key(party: int, attempt: int = 3) -> PartyKey:
        return PartyKey(job.number, 0, attempt, party)

    assert await found() == key(0)
    assert await found(domain_id="bob") == key(2)
    assert await found(role="guest") == key(1)
    assert await found(domain_id="alice", role="guest", attempt=1) == key(1, 1)
    assert await found(Caller("bob")) == key(2)
    assert await found(Caller("bob"), role="guest", replica=1) == key(2)
    await read(output, LogQuery(TASK, attempt=2))
    assert source.keys == {key(0, 2)}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"attempt": 4}, 'task "the-task" has no attempt 4: it has had 1, 2, 3; 0 is the newest'),
        ({"attempt": -1}, "attempt -1 is out of range"),
        ({"replica": 2}, "replica 2 is out of range: the party runs 2, from 0 on"),
        ({"tail_lines": -1}, "tail_lines -1 is out of range"),
        ({"offset": -1, "stream": STDOUT}, "offset -1 is out of range"),
        ({"offset": 1}, "offset 1 is in one stream: stream must be stdout or stderr"),
        ({"domain_id": "bob", "role": "host"}, 'has no party "bob/host"; it has: alice/host, alice/guest, bob'),
    ],
)
async def test_a_wrong_query_names_what_there_is(query: dict[str, object], text: str) -> None:
    output, _ = await open_output(WrittenOutput(), attempt=3)
    with pytest.raises(InvalidJob) as caught:
        await output.find(LogQuery(TASK, **query), MASTER)  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert [problem.field for problem in caught.value.problems] == [list(query)[-1 if "role" in query else 0]]


async def test_an_attempt_of_a_task_that_has_not_started_never_was() -> None:
    output, _ = await open_output(WrittenOutput(), attempt=0)
    with pytest.raises(InvalidJob, match="no attempt 1: it has not started yet"):
        await output.find(LogQuery(TASK, attempt=1), MASTER)


async def test_a_domain_reads_its_own_output_only() -> None:
    output, _ = await open_output(WrittenOutput())
    with pytest.raises(NotAllowed, match="each domain reads its own"):
        await output.find(LogQuery(TASK, domain_id="alice"), Caller("bob"))
    assert [run.key.party for run in await output.find_all(LogQuery(TASK), Caller("alice"))] == [0, 1]
    assert [run.key.party for run in await output.find_all(LogQuery(TASK, role="guest"), MASTER)] == [1, 2]
    for task_id in (TASK, "no-such-task"):
        with pytest.raises(NotAllowed, match="neither initiator nor party"):
            await output.find(LogQuery(task_id), Caller("mallory"))
    with pytest.raises(TaskNotFound):
        await output.find(LogQuery("no-such-task"), MASTER)


async def test_who_follows_an_attempt_is_told_its_end_when_the_next_is_awaited() -> None:
    source = written([(STDOUT, b"failed\n", True)], 100)
    output, job = await open_output(source, attempt=1)
    (task,) = new_job(job.spec).status.tasks
    await output._store.replace(replace(job, status=replace(job.status, tasks=(replace(task, attempt=1),))))
    async with asyncio.timeout(5):
        assert joined(await read(output, LogQuery(TASK, follow=True))) == "failed\n"


async def test_of_many_parties_in_one_stream_each_is_looked_at_more_rarely() -> None:
    source = WrittenOutput()
    output, job = await open_output(source)
    query, looks = LogQuery(TASK, follow=True), 0

    async def looked(*_: object, **__: object) -> int:
        nonlocal looks
        looks += 1
        return 0

    many = [PartyRun(PartyKey(job.number, 0, 2, 0), "alice", str(at)) for at in range(20 * logs.PARTIES_AT_ONCE)]
    with patch.object(source, "output_size", looked), patch.object(logs, "POLL_SECONDS", 0.01):
        began = asyncio.get_running_loop().time()
        following = asyncio.create_task(anext(output.lines(query, many, MASTER)))
        await eventually(lambda: looks >= 3 * 2 * len(many))  # both outputs of each
        seconds = asyncio.get_running_loop().time() - began
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    # The first look comes at once, the third after two pauses.
    assert seconds >= 2 * 20 * 0.01


async def test_of_many_parties_in_one_stream_few_are_read_ahead_of_who_reads_slowly() -> None:
    source = WrittenOutput(piece_bytes=1000)
    output, job = await open_output(source, is_running=False)
    for number in range(100):
        source.write(STDOUT, b"%d\n" % number * 100, at=None)
    begun = 0
    read_really = TaskOutput._lines

    async def noted(*arguments: Any) -> AsyncIterator[tuple[PartyRun, Sequence[LogLine]]]:
        nonlocal begun
        is_first = True
        async for piece in read_really(*arguments):
            begun += is_first
            is_first = False
            yield piece

    many = [PartyRun(PartyKey(job.number, 0, 2, 0), "alice", str(at)) for at in range(5 * logs.PARTIES_AT_ONCE)]
    with patch.object(TaskOutput, "_lines", noted):
        stream = output.lines(LogQuery(TASK), many, MASTER)
        await anext(stream)
        await give_way(1000)
        assert 1 <= begun <= logs.PARTIES_AT_ONCE
        told = {run.role async for run, _ in stream}
    assert told == {run.role for run in many}
