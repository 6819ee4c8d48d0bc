"""Files that only their owner can read, written whole or not at all."""

import os
import secrets
from pathlib import Path


def write(file: Path, content: bytes, *, is_durable: bool = False) -> None:
    """Write the file; a file or link of that name is replaced at once: nobody reads half of it. Raises OSError.

    `is_durable`: its content is on the disk before it gets its name.
    """
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        if is_durable:
            stream.flush()
            os.fsync(descriptor)
    partial.replace(file)
