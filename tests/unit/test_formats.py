"""Formats on disk: what a newer program has written is refused and stays as it is; each change has a number."""

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kusciajob.model.history import Attempt, HistoryEntry
from kusciajob.model.job import JobSpec, Traits
from kusciajob.model.status import JobStatus
from kusciajob.operations import datadir, formats
from kusciajob.runtime.process.shim import PROTOCOL_VERSION
from kusciajob.runtime.process.shim.records import describe_exit
from kusciajob.runtime.process.shim_messages import PartyExit
from kusciajob.store.sqlite import database
from tests.support.earlier import unpack_data_directory
from tests.support.program import assert_refused, kusciajob

pytestmark = pytest.mark.hostile

WITHOUT_A_FORMAT = frozenset(
    {
        "lock",  # a process id, for people
        "shim.lock",  # empty
        "shim.log",  # for people
        "server.log",
        "certs",  # PEM, and tokens of one line
        "appimages",  # they name their apiVersion
        "domains",  # the domains' own
        "domains.yaml",  # a person's: what is unknown is refused by its name
        "lost+found",
        "jobs.head.new",  # becomes jobs.head
    }
)
PASSING = ("lock", "jobs.db-wal", "jobs.db-shm")
LATER = {
    "jobs.head": b'{"version": 99, "jobs": [["all", "of", "them"]]}',
    "progress.key": b"version 99\nkeys: 2\n",
    "progress.port": b"version 99\n[::1]:4711\n",
    "shim.cgroups": b"version 99\n/sys/fs/cgroup/kusciajob\n",
}
JSON_IN_THE_DATABASE = {
    7: "6fbe0992caf65062b1c9e0aa102921f32e150e1e3d861d7ce6a8e32b272f0d9d",
}
"""By the number of the schema. Where this fails the JSON in the rows has changed, and an older program would lose what
it does not know: add a file to the schema, even one without a change of tables, and put its number here. Where the code
says the same JSON in other words, the fingerprint alone is new."""


def serve(data: Path) -> Any:
    return kusciajob("serve", "--data-dir", data, "--grpc-port", 0, "--http-port", -1, "--protocol", "notls")


def content_of(directory: Path) -> dict[str, bytes]:
    """Without what a look at it leaves: SQLite's empty files, and the process id of who was there."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.name not in PASSING)
    return {str(path): path.read_bytes() for path in files}


def test_every_file_of_a_data_directory_has_a_format() -> None:
    known = {each.name.partition("/")[0] for each in formats.FORMATS}
    assert datadir.OWN | {datadir.DATABASE} | {"shim.sock"} == known | WITHOUT_A_FORMAT


@pytest.mark.parametrize("name", LATER)
def test_a_server_refuses_a_newer_file_and_changes_nothing_in_an_older_directory(name: str, tmp_path: Path) -> None:
    unpack_data_directory("0c01e9e", tmp_path)
    data = tmp_path / "data"
    (data / name).write_bytes(LATER[name])
    before = content_of(data)

    assert_refused(
        serve(data),
        f"{data / name} has version 99, this program knows versions up to 1: run the newer program, or use another",
    )

    assert content_of(data) == before


def test_a_server_refuses_a_newer_database_and_changes_nothing(tmp_path: Path) -> None:
    unpack_data_directory("46f408d", tmp_path)
    data = tmp_path / "data"
    with contextlib.closing(sqlite3.connect(data / datadir.DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = content_of(data)

    refused = serve(data)
    assert refused.returncode == 1
    assert f"{data / 'jobs.db'}: its schema has version 99, this program knows versions up to" in refused.stderr

    assert content_of(data) == before


@pytest.mark.parametrize("name", LATER)
def test_the_doctor_tells_of_a_newer_file_and_does_not_repair(name: str, tmp_path: Path) -> None:
    unpack_data_directory("0c01e9e", tmp_path)
    data = tmp_path / "data"
    (data / name).write_bytes(LATER[name])
    before = content_of(data)
    sentence = f"{data / name} has version 99, this program knows versions up to 1"

    looked = kusciajob("doctor", "--data-dir", data)
    assert looked.returncode == 1
    assert f"PROBLEM {sentence}" in looked.stdout

    assert_refused(kusciajob("doctor", "--data-dir", data, "--repair"), sentence)
    assert content_of(data) == before


@pytest.mark.parametrize("content", [b"", b"\xff" * 32, b"version \n", b'{"version": "one"}', b"{", b"[]"])
def test_what_says_no_version_is_left_to_its_reader(content: bytes, tmp_path: Path) -> None:
    for name in LATER:
        (tmp_path / name).write_bytes(content)
    formats.check(tmp_path)


def test_the_json_in_the_database_changes_with_the_schema_only() -> None:
    shape = msgspec.json.schema_components([JobSpec, JobStatus, Traits, HistoryEntry, Attempt])
    fingerprint = hashlib.sha256(json.dumps(_without_texts(shape), sort_keys=True).encode()).hexdigest()
    assert JSON_IN_THE_DATABASE[len(database.migrations())] == fingerprint


def test_the_records_of_the_shim_change_with_its_version_only() -> None:
    record = describe_exit("1/0.1/0", code=0, started_at=1.0, ended_at=2.0)
    assert (PROTOCOL_VERSION, sorted(record)) == (
        3,
        ["code", "ended_at", "key", "lost", "restarts", "signal", "started_at", "stopped", "version"],
    )
    assert msgspec.convert(record, PartyExit).code == 0


def _without_texts(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _without_texts(value) for name, value in shape.items() if name not in {"description", "title"}}
    if isinstance(shape, list | tuple):
        return [_without_texts(value) for value in shape]
    return shape
