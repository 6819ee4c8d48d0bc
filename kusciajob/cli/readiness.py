"""What a program learns that has started a server: that it serves, and where."""

import asyncio
import json
import os
from pathlib import Path

from msgspec import Struct

from kusciajob.config import Settings
from kusciajob.files import private
from kusciajob.security.guard import protocol_in_force
from kusciajob.security.names import CA_CERTIFICATE
from kusciajob.security.tokens import MASTER_FILE

PARENT_SECONDS = 0.2


class Readiness(Struct, frozen=True):
    """Where to tell it; nowhere if neither is given."""

    file: Path | None
    descriptor: int | None

    def tell(self, settings: Settings, *, grpc_port: int, http_port: int | None) -> None:
        """Write it, all at once: the addresses, the process id, and the files of the token and of the authority."""
        if self.file is None and self.descriptor is None:
            return
        host, is_open = settings.bracketed_host, protocol_in_force(settings) == "notls"
        told = {
            "grpc": f"{host}:{grpc_port}",
            "http": None if http_port is None else f"{host}:{http_port}",
            "pid": os.getpid(),
            "token": None if is_open else str((settings.certificates / MASTER_FILE).resolve()),
            "ca": None if is_open else str((settings.certificates / CA_CERTIFICATE).resolve()),
        }
        text = f"{json.dumps(told)}\n".encode()
        if self.file is not None:
            private.write(self.file, text)
        if self.descriptor is not None:
            os.write(self.descriptor, text)
            os.close(self.descriptor)


async def until_orphaned(parent: int | None) -> None:
    """Return once that process is not this one's parent any more; never for None."""
    if parent is None:
        await asyncio.Event().wait()
    while os.getppid() == parent:  # noqa: ASYNC110  # the system tells it in no other way to all threads
        await asyncio.sleep(PARENT_SECONDS)
