"""What the server keeps of each run below `<data directory>/runs`, until its job is deleted: note, output, end.

The note says that the run may have begun; it is written before the engine is told to begin. From then on nothing
creates the run again: what the engine does not have any more is lost.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import Arrival, ExitResult, Node, OutputPiece, OutputStream, PartyKey
from kusciajob.files import arrivals, private
from kusciajob.files.holes import free_oldest
from kusciajob.files.regular import read_regular
from kusciajob.runtime import output_files
from kusciajob.runtime.directories import replica_name
from kusciajob.runtime.hosted.engine import LogPiece, nanoseconds

VERSION = 1
NOTE = "hosted.json"
END = "ended.json"
POSITION = "position.json"
MAX_BYTES = 64 * 1024
MAX_ARRIVALS = 256
"""So many pieces of what is written at once have a time of their own."""
T = TypeVar("T", bound=Struct)
_RUN = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")


class Note(Struct, frozen=True):
    """What was released, and where: the engine's id of the workload, and the domain that it belongs to."""

    uid: str
    domain_id: str
    version: int = VERSION


class End(Struct, frozen=True):
    """How a run ended, and on which machine."""

    result: ExitResult
    node: Node | None = None
    version: int = VERSION


class Position(Struct, frozen=True):
    """How far one stream is kept: bytes, the time of the last piece, and how many pieces have that time."""

    size: int = 0
    time: str = ""
    pieces: int = 0


Positions = Mapping[OutputStream, Position]


class Progress(Struct, frozen=True):
    """How far the output is kept, and how far it was when the engine was asked for the pieces that came since."""

    streams: Positions = {}
    began: Positions = {}
    version: int = VERSION


class KeptRun:
    """The directory of one run. All its methods block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self, notice: str = "") -> None:
        """Make the directory of a run that has not begun; its standard error begins with the notice. Raises OSError."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if notice:
            content = notice.encode()
            private.write(self._output(OutputStream.STDERR), content, is_durable=False)
            positions = {OutputStream.STDERR: Position(len(content))}
            _write(self.directory / POSITION, Progress(positions, positions))

    @property
    def exists(self) -> bool:
        """Whether a workload may have been created for it."""
        return self.directory.is_dir()

    def note(self, note: Note) -> None:
        """Note durably that it may have begun. Raises OSError."""
        _write(self.directory / NOTE, note)
        with _opened(self.directory) as descriptor:
            os.fsync(descriptor)

    def noted(self) -> Note | None:
        """The note; None if it has certainly not begun. One that cannot be read says so much: it may have begun."""
        file = self.directory / NOTE
        return _read(file, Note) or (Note("", "") if os.path.lexists(file) else None)

    def end(self, end: End) -> None:
        """Note how it ended. Raises OSError."""
        _write(self.directory / END, end)

    def ended(self) -> End | None:
        """How it ended; None if that is not known yet."""
        return _read(self.directory / END, End)

    def tail(self) -> str:
        """The last lines of stderr; of stdout where the program wrote nothing to stderr."""
        positions = self.resume().streams
        # A notice of the server, which has no time, counts least.
        said = [stream for stream in reversed(OutputStream) if positions.get(stream, Position()).time]
        streams = dict.fromkeys([*said, *reversed(OutputStream)])
        return next(filter(None, (output_files.tail(self._output(stream)) for stream in streams)), "")

    def read(self, stream: OutputStream, offset: int) -> OutputPiece:
        """See OutputSource."""
        return output_files.read(self._output(stream), offset)

    def size(self, stream: OutputStream) -> int:
        """See OutputSource."""
        return output_files.size(self._output(stream))

    def arrivals(self) -> list[Arrival]:
        """See OutputSource."""
        return output_files.arrivals(self.directory)

    def resume(self) -> Progress:
        """How far the output is kept. What was written beyond that will come again."""
        return _read(self.directory / POSITION, Progress) or Progress()

    def append(self, pieces: Sequence[LogPiece], progress: Progress, *, limit_bytes: int | None) -> Progress:
        """Keep more output from there on, and return how far it is kept then. Raises OSError.

        What was written beyond a position is overwritten; a file never gets shorter, so that its readers go on.
        """
        positions = dict(progress.streams)
        for stream in OutputStream:
            own = [piece for piece in pieces if piece.stream is stream]
            if not own:
                continue
            file = self._output(stream)
            known = positions.get(stream, Position())
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as output:
                output.seek(known.size)
                output.writelines(piece.data for piece in own)
                size = output.tell()
            self._note_arrivals(stream, own, known.size)
            if limit_bytes is not None:
                free_oldest(str(file), limit_bytes)
            last = own[-1].time
            alike = sum(piece.time == last for piece in own) + (known.pieces if known.time == last else 0)
            positions[stream] = Position(min(size, file.stat().st_size), last, alike)
        progress = replace(progress, streams=positions)
        _write(self.directory / POSITION, progress, is_durable=False)
        return progress

    def _note_arrivals(self, stream: OutputStream, pieces: Sequence[LogPiece], size: int) -> None:
        """Note when pieces arrived that were written from that size on; of many only some."""
        records: list[tuple[float, int]] = []
        now = time.time()
        after, step = size, len(pieces) // MAX_ARRIVALS + 1
        for number, piece in enumerate(pieces, start=1):
            size += len(piece.data)
            if (number % step == 0 or number == len(pieces)) and (at := nanoseconds(piece.time)):
                # Podman tells the second in which a piece came: it was not there before its end, or before now.
                came_at = at / 10**9 if "." in piece.time else min(at / 10**9 + 1, now)
                records.append((came_at, size))
        with contextlib.suppress(OSError):  # the output itself is worth more, and is kept
            arrivals.note(str(self.directory / output_files.ARRIVALS[stream]), records, after=after)

    def _output(self, stream: OutputStream) -> Path:
        return self.directory / output_files.NAMES[stream]


class KeptRuns:
    """All runs of a server. Its methods block."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made when it is first needed."""
        self._directory = directory

    def of(self, key: PartyKey, replica: int = 0) -> KeptRun:
        """The run of one replica of a party; its directory need not exist."""
        return KeptRun(self._directory / replica_name(key, replica))

    def replicas(self, key: PartyKey) -> list[int]:
        """The replicas of a party that have directories, in their order."""
        return sorted(replica for party, replica, _ in self._of_attempt(key) if party == key.party)

    def has_begun(self, key: PartyKey) -> bool:
        """Whether any party of its task's attempt may have begun."""
        return any(run.noted() is not None for _, _, run in self._of_attempt(key))

    def _of_attempt(self, key: PartyKey) -> Iterator[tuple[int, int, KeptRun]]:
        """All runs of the attempt that the party belongs to, each with its party and replica."""
        for entry in _entries(self.of(key).directory.parent):
            if found := _RUN.fullmatch(entry.name):
                yield int(found[1]), int(found[2] or 0), KeptRun(entry)

    def jobs(self) -> set[int]:
        """The numbers of the jobs that have directories."""
        return {int(entry.name) for entry in _entries(self._directory) if entry.name.isdecimal()}

    def remove(self, job: int) -> None:
        """Remove all of a job. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory / str(job))


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(file: Path, content: Struct, *, is_durable: bool = True) -> None:
    private.write(file, msgspec.json.encode(content), is_durable=is_durable)


def _read(file: Path, kind: type[T]) -> T | None:
    """The content; None if there is no such file, or if it was not written whole."""
    try:
        return msgspec.json.decode(read_regular(file, MAX_BYTES), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
