"""A PostgreSQL of the tests' own, from the system's package, on a free port and in a directory of its own."""

import atexit
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from functools import cache
from pathlib import Path

import asyncpg
import pytest

from tests.support.polling import eventually_true
from tests.support.ports import free_range

SYSTEM_USER = "postgres"
"""Who runs it where the tests run as root, which PostgreSQL refuses. The package makes that user."""


USER = "kusciajob"


def programs() -> Path | None:
    """Where its programs are: in POSTGRES_BIN, or the newest of the system's packages; None: it is not installed."""
    if chosen := os.environ.get("POSTGRES_BIN"):
        return Path(chosen)
    found = [Path(each).parent for each in glob.glob("/usr/lib/postgresql/*/bin/postgres")]
    if not found and (on_path := shutil.which("postgres")):
        found = [Path(on_path).parent]
    return max(found, key=lambda each: int(each.parent.name) if each.parent.name.isdigit() else 0, default=None)


class PostgresServer:
    """A running server. It ends with this process, however that ends."""

    def __init__(
        self,
        binaries: Path,
        *,
        is_durable: bool = False,
        standby_of: "PostgresServer | None" = None,
        network: str = "",
        **settings: str,
    ) -> None:
        """Durable: what is committed outlives the machine, not only the process. Tests do without.

        `network`: one that may connect, beside this machine, e.g. `10.0.0.0/8`.
        """
        (self.port,) = free_range(1)
        self._binaries = binaries
        self._directory = Path(tempfile.mkdtemp(prefix="kusciajob-postgres-"))
        self._data = self._directory / "data"
        self._user = SYSTEM_USER if os.geteuid() == 0 else None
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
        if standby_of is None:
            self._run(
                *(str(binaries / "initdb"), "--pgdata", str(self._data), "--username", USER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            )
        else:
            self._run(
                *(str(binaries / "pg_basebackup"), "--pgdata", str(self._data), "--username", USER, "--host"),
                *("127.0.0.1", "--port", str(standby_of.port), "--write-recovery-conf", "--no-sync"),
                *("--checkpoint", "fast"),
            )
        if network:
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {network} trust\n")
        own = {
            "listen_addresses": "*" if network else "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if is_durable else "off",
            "max_connections": "300",
            **settings,
        }
        options = [part for name, value in own.items() for part in ("-c", f"{name}={value}")]
        self._log = (self._directory / "log").open("wb")
        self.process = subprocess.Popen(
            # setpriv: the signal comes when this process is gone.
            ["setpriv", "--pdeathsig", "QUIT", binaries / "postgres", "-D", self._data, "-p", str(self.port), *options],
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        atexit.register(self.stop)

    def promote(self) -> None:
        """A standby takes changes from now on."""
        self._run(str(self._binaries / "pg_ctl"), "promote", "--pgdata", str(self._data), "--wait")

    def kill(self) -> None:
        """End it at once, and all that it has started."""
        self.process.send_signal(signal.SIGQUIT)  # its children would outlive a SIGKILL for a moment
        self.process.wait()

    async def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        await self.ready()
        connection = await asyncpg.connect(self._url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self._url(name)

    async def ready(self) -> None:
        """Return once it answers."""
        await eventually_true(self._answers)

    def stop(self) -> None:
        """Stop it at once, and remove its directory."""
        self.process.kill()
        self.process.wait()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def _answers(self) -> bool:
        assert self.process.poll() is None, (self._directory / "log").read_text()
        try:
            await (await asyncpg.connect(self._url("postgres"))).close()
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        return True

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            cwd="/",
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )


@cache
def postgres_server() -> PostgresServer:
    """The one of this process; the test is skipped where PostgreSQL is not installed."""
    if (binaries := programs()) is None:
        pytest.skip(
            "PostgreSQL is not installed: make test-postgres installs it, on Debian it is the package postgresql"
        )
    return PostgresServer(binaries)
