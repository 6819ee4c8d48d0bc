"""The file that keeps a port across restarts. A link or anything else in its place is logged and replaced."""

import logging
from pathlib import Path

from kusciajob.files import private as privatefile
from kusciajob.files.regular import read_regular

logger = logging.getLogger(__name__)

FIRST_PORT = 1024
LAST_PORT = 65535
MAX_BYTES = 16


def read_port(file: Path) -> int:
    """The port in the file; 0, which means any free one, if the file holds none that can be used."""
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
    """Write the port to a new file. A failure is logged: then the next start chooses another port."""
    try:
        privatefile.write(file, f"{port}\n".encode())
    except OSError as error:
        logger.warning("%s cannot be written, the next start will choose another port: %s", file, error.strerror)
