"""An image of this machine's PostgreSQL that stands in for the public one where no registry can be reached."""

from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.image_archives import Layer, add_busybox, archive, libraries

UID = 999
"""As in the public image."""
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
_PASSWD = f"root:x:0:0::/:/bin/sh\npostgres:x:{UID}:{UID}::{DATA}:/bin/sh\n"
_GROUP = f"root:x:0:\npostgres:x:{UID}:\n"


def postgres_image(name: str) -> bytes:
    """What engines load. The test is skipped where Debian's package is not installed."""
    found = postgres.programs()
    if found is None or not found.is_relative_to("/usr/lib/postgresql"):
        pytest.skip("an image is made of Debian's package: apt-get install postgresql")
    layer = Layer()
    layer.directory("tmp", 0o1777)
    layer.directory("run", 0o755)
    layer.directory(DATA, 0o700, owner=UID)
    layer.file("etc/passwd", _PASSWD.encode(), 0o644)
    layer.file("etc/group", _GROUP.encode(), 0o644)
    layer.file("entry.sh", _ENTRY.encode())
    add_busybox(layer)
    programs = [found / program for program in ("postgres", "initdb", "pg_isready", "psql")]
    modules = [found.parent / "lib" / f"{module}.so" for module in ("plpgsql", "dict_snowball", "libpqwalreceiver")]
    for shared in sorted({*map(str, [*programs, *modules]), *libraries(map(str, [*programs, *modules]))}):
        layer.file(shared, Path(shared).read_bytes())
    for tree in (Path("/usr/share/postgresql", found.parent.name), Path("/usr/share/zoneinfo")):
        layer.tree(tree)
    config = {
        "Env": [f"PATH={found}:/bin", f"PGDATA={DATA}"],
        "User": str(UID),
        "Entrypoint": ["/entry.sh"],
        "WorkingDir": "/",
    }
    return archive(layer.bytes(), {name: config})
