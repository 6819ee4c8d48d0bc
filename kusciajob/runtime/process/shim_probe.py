"""Asks the shim of a data directory, from outside of any server."""

import os
import socket
from pathlib import Path

import msgspec

from kusciajob.runtime.process.shim_messages import Hello, Message

ANSWER_SECONDS = 2.0
_HELLO = b'{"id": 0, "op": "hello"}\n'


def ask_shim(directory: Path) -> Hello | None:
    """What the running shim says of itself, None when none runs. TimeoutError: it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_SECONDS)
        try:
            place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # A socket's path holds 108 bytes at most; the way over the descriptor is always short.
                sock.connect(f"/proc/self/fd/{place}/shim.sock")
            finally:
                os.close(place)
            sock.sendall(_HELLO)
            with sock.makefile("rb") as stream:
                # Until its answer it may tell of parties that end.
                while (line := stream.readline()) and (message := msgspec.json.decode(line, type=Message)).id != 0:
                    pass
        except TimeoutError:
            raise
        except OSError:
            return None
    return msgspec.json.decode(message.result, type=Hello) if line else None
