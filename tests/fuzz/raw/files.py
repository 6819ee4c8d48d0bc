"""Files with any content, for what reads them from a disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_of(data: bytes, *, name: str) -> Iterator[Path]:
    """The only file of its directory, with that content."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / name
        file.write_bytes(data)
        yield file
