"""Output comes in lines with times, each once, however it arrives."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kusciajob.contracts import OutputStream, PartyKey
from kusciajob.runtime.hosted.engine import EngineUnavailable, Ref
from kusciajob.runtime.kubernetes.api import ApiError, NotFound
from kusciajob.runtime.kubernetes.logs import PART_BYTES, SPLIT, UNSPLIT, LineReader, Logs

REF = Ref("kj-1", "kj", PartyKey(1, 0, 0, 0), 0, "alice")
STDOUT = OutputStream.STDOUT


def at(second: int, text: str, *, end: str = "\n") -> bytes:
    return f"2026-01-01T00:00:{second:02}.000000000Z {text}{end}".encode()


class Api:
    """Answers each request for an output with the next of its answers."""

    def __init__(self, answers: Sequence[bytes | Exception], *, minor: str = "37") -> None:
        self._answers = list(answers)
        self._minor = minor
        self.queries: list[dict[str, str]] = []
        self._over = asyncio.Event()
        self._over_after = 0

    def over_after(self, requests: int) -> asyncio.Event:
        """What tells that the pod has ended: as soon as so many requests were made."""
        self._over_after = requests
        self._note()
        return self._over

    def _note(self) -> None:
        if len(self.queries) >= self._over_after:
            self._over.set()

    async def get(self, path: str, kind: Any) -> Any:
        return kind(minor=self._minor)

    @asynccontextmanager
    async def stream(self, path: str, *, read_seconds: float, **query: str) -> AsyncIterator[AsyncIterator[bytes]]:
        self.queries.append(query)
        self._note()
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError | NotFound):
            raise answer
        yield self._chunks(answer)

    async def _chunks(self, answer: bytes | Exception) -> AsyncIterator[bytes]:
        if isinstance(answer, Exception):
            raise answer
        for begin in range(0, len(answer), 7):
            yield answer[begin : begin + 7]
            await asyncio.sleep(0)


async def read(api: Api, *, over_after: int, since: str = "") -> list[bytes]:
    """All pieces; the pod has ended once that many requests were made."""
    logs = Logs(api)  # type: ignore[arg-type]
    pieces = logs.of_container("/pods/a", "main", REF, UNSPLIT[0], since=since, over=api.over_after(over_after))
    return [piece.data async for piece in pieces]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_lines_are_whole_however_they_are_cut(size: int) -> None:
    sent = at(1, "one") + at(1, "") + at(2, "two words") + at(3, "last", end="")
    reader = LineReader(STDOUT)
    pieces = [piece for begin in range(0, len(sent), size) for piece in reader.feed(sent[begin : begin + size])]
    assert [piece.data for piece in pieces] == [b"one\n", b"\n", b"two words\n"]
    assert [piece.data for piece in reader.rest()] == [b"last"]
    assert pieces[2].time == "2026-01-01T00:00:02.000000000Z"


@pytest.mark.parametrize("size", [1000, PART_BYTES, 10**6])
def test_a_long_line_comes_in_the_same_parts_each_time(size: int) -> None:
    sent = at(1, "x" * (2 * PART_BYTES + 10)) + at(2, "after")
    reader = LineReader(STDOUT)
    pieces = [piece for begin in range(0, len(sent), size) for piece in reader.feed(sent[begin : begin + size])]
    assert [len(piece.data) for piece in pieces] == [PART_BYTES, PART_BYTES, 11, 6]


def test_the_clusters_own_words_are_no_output() -> None:
    reader = LineReader(STDOUT)
    sent = b"unable to retrieve container logs for containerd://0123456789012345678901234567890\n" + at(1, "one")
    assert [piece.data for piece in reader.feed(sent)] == [b"one\n"]


async def test_what_comes_after_a_cut_is_told_once() -> None:
    """Several lines may have one time; half of a line is not told."""
    api = Api(
        [
            at(1, "a") + at(1, "b") + at(2, "hal", end=""),
            at(1, "a") + at(1, "b") + at(1, "c") + at(2, "half"),
            at(2, "half") + at(3, "rest", end=""),
        ]
    )
    assert await read(api, over_after=2) == [b"a\n", b"b\n", b"c\n", b"half\n", b"rest"]
    assert [query.get("follow") for query in api.queries] == ["true", "true", None]
    assert api.queries[1]["sinceTime"] == "2026-01-01T00:00:01.000000000Z"


async def test_what_has_the_time_since_when_is_told_again_and_nothing_older() -> None:
    api = Api([at(1, "a") + at(2, "b") + at(2, "c")])
    assert await read(api, over_after=0, since="2026-01-01T00:00:02Z") == [b"b\n", b"c\n"]


async def test_output_that_is_gone_ends_silently() -> None:
    assert await read(Api([NotFound(404, "", "gone")]), over_after=9) == []
    assert await read(Api([ApiError(400, "", "waiting to start")]), over_after=0) == []


async def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(EngineUnavailable):
        await read(Api([EngineUnavailable("away")]), over_after=1)


async def test_streams_are_asked_for_where_the_cluster_tells_them_apart() -> None:
    async def sources(*answers: bytes | Exception, minor: str = "37") -> object:
        return await Logs(Api(answers, minor=minor)).sources("/pods/a", "main")  # type: ignore[arg-type]

    assert await sources(b"") == SPLIT
    assert await sources(ApiError(422, "Invalid", "stream: Forbidden: may not be specified")) == UNSPLIT
    assert await sources(b"", minor="31+") == UNSPLIT


async def test_only_so_many_outputs_are_followed_at_once() -> None:
    api = Api([at(1, "a"), at(1, "a") + at(2, "b"), at(2, "b")])
    logs = Logs(api, max_followed=0, glance_seconds=0)  # type: ignore[arg-type]
    pieces = logs.of_container("/pods/a", "main", REF, UNSPLIT[0], since="", over=api.over_after(2))
    assert [piece.data async for piece in pieces] == [b"a\n", b"b\n"]
    assert not any("follow" in query for query in api.queries)
