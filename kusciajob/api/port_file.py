"""The file that keeps a port across restarts. What stands in its place is told, followed nowhere, replaced."""

import logging
from pathlib import Path

from kusciajob.files import private as privatefile
from kusciajob.files.regular import read_regular

logger = logging.getLogger(__name__)

FIRST_PORT = 1024
LAST_PORT = 65535
MAX_BYTES = 16


def read_port(file: Path) -> int:
    """The port that was kept; 0, any free one, where there is none that can be used."""
    try:
        content = read_regular(file, MAX_BYTES)
    except FileNotFoundError:
        return 0
    except OSError as error:
        logger.warning("%s cannot be read, a new port is chosen: %s", file, error.strerror)
        return 0
    text = content.decode(errors="replace").strip()
    if text.isascii() and text.isdecimal() and FIRST_PORT <= int(text) <= LAST_PORT:
        return int(text)
    logger.warning("%s holds %r, a new port is chosen: it must be from %d to %d", file, text, FIRST_PORT, LAST_PORT)
    return 0


def write_port(file: Path, port: int) -> None:
    """Keep it, in a new file. Where that is impossible the next start chooses another port; this one is told."""
    try:
        privatefile.write(file, f"{port}\n".encode())
    except OSError as error:
        logger.warning("%s cannot be written, the next start will choose another port: %s", file, error.strerror)
