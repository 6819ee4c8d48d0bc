"""A target that does not end."""

from threading import Event


def run(data: bytes) -> None:
    """Hangs on what begins with "h"."""
    if data.startswith(b"h"):
        Event().wait()


def seeds() -> list[bytes]:
    return [b"g", b"h"]
