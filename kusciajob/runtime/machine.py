"""The machine of this process, for runtimes whose parties run here."""

import asyncio
import socket

from kusciajob.contracts import Node


async def this_machine() -> Node:
    """The machine's host name, and the name's address."""
    name = socket.gethostname()
    return Node(name, await asyncio.to_thread(_address_of, name))


def _address_of(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return "127.0.0.1"
