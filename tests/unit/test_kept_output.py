"""Output that is kept lacks nothing, also where an engine drops lines from a log that it follows."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from kusciajob.contracts import OutputStream, PartyKey
from kusciajob.runtime.file_work import FileWork
from kusciajob.runtime.hosted.engine import EngineUnavailable, LogPiece, OutputIncomplete, Ref
from kusciajob.runtime.hosted.kept import KeptRun, Progress
from kusciajob.runtime.hosted.output import OutputCollector
from tests.support.polling import eventually, give_way

REF = Ref("kj-1", "kj", PartyKey(1, 0, 0, 0), 0, "alice")
LINES = [
    LogPiece(OutputStream.STDOUT, f"2026-01-01T00:00:0{at}Z", line) for at, line in enumerate((b"a\n", b"b\n", b"c\n"))
]


class DroppingEngine:
    """Its container ends while its log is followed, which loses a line then, as with Podman 4."""

    def __init__(self, breaks_with: Exception | None = None) -> None:
        self.is_over = False
        self._breaks_with = breaks_with

    async def logs(
        self, ref: Ref, since: Mapping[OutputStream, str], *, is_continued: bool = False
    ) -> AsyncIterator[LogPiece]:
        if self.is_over:
            if is_continued:
                raise OutputIncomplete
            for piece in LINES:
                if piece.time >= since.get(piece.stream, ""):
                    yield piece
            return
        yield LINES[0]
        self.is_over = True
        yield LINES[2]
        if self._breaks_with is not None:
            raise self._breaks_with
        await asyncio.Event().wait()


def collector(engine: Any, kept: KeptRun) -> OutputCollector:
    async def pause() -> None:
        await give_way(1)

    return OutputCollector(engine, REF, kept, pause=pause, file_work=FileWork(), limit_bytes=None)


def stdout(kept: KeptRun) -> bytes:
    return kept.read(OutputStream.STDOUT, 0).data


async def test_a_server_killed_between_an_end_and_the_second_look_at_its_log_loses_nothing(tmp_path: Path) -> None:
    kept, engine = KeptRun(tmp_path), DroppingEngine()
    killed = asyncio.create_task(collector(engine, kept).run())
    await eventually(lambda: stdout(kept) == b"a\nc\n" and len(kept.resume().streams) == 1)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    await collector(engine, kept).run()
    assert stdout(kept) == b"a\nb\nc\n"


async def test_a_connection_cut_just_after_an_end_loses_nothing(tmp_path: Path) -> None:
    kept = KeptRun(tmp_path)
    await collector(DroppingEngine(EngineUnavailable("cut")), kept).run()
    assert stdout(kept) == b"a\nb\nc\n"


async def test_output_that_is_read_again_never_gets_shorter_for_its_readers(tmp_path: Path) -> None:
    """A server is killed while it writes the beginning again, and the container is gone then."""
    kept = KeptRun(tmp_path)
    progress = kept.append(LINES, kept.resume(), limit_bytes=None)
    kept.append(LINES[:1], Progress(progress.began, progress.began), limit_bytes=None)
    kept.resume()
    assert stdout(kept) == b"a\nb\nc\n"
