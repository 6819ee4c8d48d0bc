"""What a command loads before it begins: as little as it can, for somebody waits for it every time."""

import json
import subprocess
import sys

import pytest

ASKING = ["get", "list", "history", "wait", "watch", "logs", "stop", "info", "audit", "open", "health"]
"""One of each module of the commands that talk to a server and read no file."""
FOR_SERVERS = {"aiohttp", "cachetools", "cryptography", "prometheus_client", "sqlite3", "tomllib", "yaml"}
FOR_TABLES = {"rich"}

LOAD = """
import gc, json, sys
from kusciajob.cli.main import cli
for name in sys.argv[1:]:
    assert cli.get_command(None, name)
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([loaded, gc.get_freeze_count(), gc.isenabled()]))
"""


def loaded_by(*commands: str) -> set[str]:
    """The packages that are loaded once those commands could run."""
    return told_by(*commands)[0]


def told_by(*commands: str) -> tuple[set[str], int, bool]:
    """The same, how many objects are never looked at as garbage, and whether others are."""
    loaded, kept, is_collecting = json.loads(subprocess.check_output([sys.executable, "-c", LOAD, *commands]))
    return set(loaded), kept, is_collecting


def test_a_command_that_asks_a_server_loads_nothing_for_servers_and_no_tables() -> None:
    loaded = loaded_by(*ASKING)
    assert {"grpc", "click"} <= loaded
    assert not loaded & (FOR_SERVERS | FOR_TABLES)


@pytest.mark.parametrize("command", ["create", "validate"])
def test_a_command_that_reads_a_job_loads_what_reads_yaml_and_no_more(command: str) -> None:
    assert loaded_by(command) & (FOR_SERVERS | FOR_TABLES) == {"yaml"}


def test_a_server_without_certificates_loads_nothing_that_compares_certificates_and_no_tables() -> None:
    loaded = loaded_by("serve")
    assert {"grpc", "aiohttp"} <= loaded
    assert not loaded & ({"cryptography"} | FOR_TABLES)


def test_what_a_command_has_loaded_is_never_searched_for_garbage() -> None:
    _, kept, is_collecting = told_by("list")
    assert kept > 10_000, "also at the end of the program that search would take a sixth of its time"
    assert is_collecting, "of what the command itself makes"
