"""The images that deploy/ names: the server's, and stand-ins for public ones, made of this machine's programs.

No test needs a registry so.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import postgres, proxy
from tests.support.image_archives import Layer, add_busybox, archive, libraries

ROOT = Path(__file__).parents[2]
SERVER = "localhost/kusciajob:dev"
BUILD_SECONDS = 600
DATA = "/var/lib/postgresql/data"
_ENTRY = """#!/bin/sh
# What the public image promises of PGDATA, POSTGRES_USER and POSTGRES_PASSWORD_FILE.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" --auth scram-sha-256 \\
        --encoding UTF8 --locale C
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_USER" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*' -c unix_socket_directories=/tmp
"""


def server_image(archive: Path) -> None:
    """Build it, and write what engines load to a file."""
    subprocess.run([ROOT / "scripts" / "build_image.sh", SERVER, ROOT], check=True, timeout=BUILD_SECONDS)
    engine = subprocess.run([ROOT / "scripts" / "container_engine.sh"], capture_output=True, text=True, check=True)
    subprocess.run([*engine.stdout.split(), "save", "--output", archive, SERVER], check=True)


def postgres_image(name: str) -> bytes:
    """What engines load. The test is skipped where Debian's package is not installed."""
    found = postgres.programs()
    if found is None or not found.is_relative_to("/usr/lib/postgresql"):
        pytest.skip("an image is made of Debian's package: apt-get install postgresql")
    programs = [found / program for program in ("postgres", "initdb", "pg_isready")]
    modules = [found.parent / "lib" / f"{module}.so" for module in ("plpgsql", "dict_snowball", "libpqwalreceiver")]
    layer = _layer("postgres", 999, [*programs, *modules])
    layer.directory(DATA, 0o700, owner=999)
    layer.file("entry.sh", _ENTRY.encode())
    for tree in (Path("/usr/share/postgresql", found.parent.name), Path("/usr/share/zoneinfo")):
        layer.tree(tree)
    config = {
        "Env": [f"PATH={found}:/bin", f"PGDATA={DATA}"],
        "User": "postgres",
        "Entrypoint": ["/entry.sh"],
        "StopSignal": "SIGINT",  # at SIGTERM it would wait for all clients to leave
        "WorkingDir": "/",
    }
    return archive(layer.bytes(), {name: config})


def haproxy_image(name: str) -> bytes:
    """The same of HAProxy. The test is skipped where it is not installed."""
    program = Path(proxy.program())
    layer = _layer("haproxy", 99, [program])
    command = [str(program), "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
    return archive(layer.bytes(), {name: {"User": "haproxy", "Cmd": command, "WorkingDir": "/"}})


def _layer(user: str, uid: int, programs: Sequence[Path]) -> Layer:
    """Programs of this machine, where they are here, with a shell and a user."""
    layer = Layer()
    layer.directory("tmp", 0o1777)
    layer.file("etc/passwd", f"root:x:0:0::/:/bin/sh\n{user}:x:{uid}:{uid}::/tmp:/bin/sh\n".encode(), 0o644)
    layer.file("etc/group", f"root:x:0:\n{user}:x:{uid}:\n".encode(), 0o644)
    add_busybox(layer)
    names = [str(program) for program in programs]
    for path in sorted({*names, *libraries(names)}):
        layer.file(path, Path(path).read_bytes())
    return layer
