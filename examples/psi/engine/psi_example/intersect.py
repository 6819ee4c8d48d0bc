"""Private set intersection: both parties learn which keys they share, and nothing about the other keys.

Settings: `input` (file, per domain), `key` (column), `output` (file, default intersection.csv),
`protocol` (rr22 or ecdh), `connect_seconds` (how long to wait for the other party, default 30).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import resource
import signal
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

from psi_example.files import Table, read_table, write_json, write_table
from psi_example.peer import wait_for_name
from psi_example.task import Task, TaskError, run_program

PORT_NAME = "psi"
CONNECT_RETRY_MILLISECONDS = 200
RECEIVE_TIMEOUT_MILLISECONDS = 60_000
STOP_LINK_SECONDS = 30
# A cluster's DNS may repeat for half a minute that a name is not there.
NAME_SECONDS = 60
# The engine passes its input through an external sort that splits lines at commas.
UNSAFE_IN_KEY = frozenset(',"')
# The engine leaves a file of timings here, whatever TMPDIR says.
TRACE_DIRECTORY = Path("/tmp")  # noqa: S108 - the engine's choice
TRACE_NAMES = "psi_*.trace"


def load_engine() -> tuple[Any, Any]:
    """SPU's `libspu` and `psi` modules, without the package's __init__, which would import jax."""
    package = importlib.util.find_spec("spu")
    if package is None or package.submodule_search_locations is None:
        raise TaskError("the package spu is not installed in this Python; setup_engine.sh does that")
    bare = types.ModuleType("spu")
    bare.__path__ = list(package.submodule_search_locations)
    sys.modules["spu"] = bare
    return importlib.import_module("spu.libspu"), importlib.import_module("spu.psi")


def connect(task: Task, libspu: Any) -> Any:
    """The link to the other party; the order of parties and the id are the same on both sides."""
    description = libspu.link.Desc()
    description.id = task.task_id
    wait_for_name(task.peer.address(PORT_NAME), wait_seconds=NAME_SECONDS)
    for party in (task.me, task.peer) if task.self_index == 0 else (task.peer, task.me):
        host, port = party.address(PORT_NAME)
        if party is task.me:
            host, port = task.listen_host(PORT_NAME), task.listen_port(PORT_NAME)
        description.add_party(party.domain_id, f"{host}:{port}")
    description.connect_retry_interval_ms = CONNECT_RETRY_MILLISECONDS
    description.connect_retry_times = task.number("connect_seconds", 30) * 1000 // CONNECT_RETRY_MILLISECONDS
    # Retries of single messages come on top of the connection's own: an absent peer would cost 100 s.
    description.retry_opts.max_retry = 0
    description.recv_timeout_ms = RECEIVE_TIMEOUT_MILLISECONDS
    return libspu.link.create_brpc(description, task.self_index)


def find_common_keys(task: Task, keys: list[str]) -> list[str]:
    """The keys both parties hold, sorted. Runs the protocol in a directory of its own below TMPDIR."""
    libspu, psi = load_engine()
    protocols = {
        "rr22": psi.PsiProtocolConfig(protocol=psi.PsiProtocol.PROTOCOL_RR22, receiver_rank=0, broadcast_result=True),
        "ecdh": psi.PsiProtocolConfig(
            protocol=psi.PsiProtocol.PROTOCOL_ECDH,
            receiver_rank=0,
            broadcast_result=True,
            ecdh_params=psi.EcdhParams(curve=psi.EllipticCurveType.CURVE_25519),
        ),
    }
    protocol = task.text("protocol", "rr22")
    if protocol not in protocols:
        raise TaskError(f"protocol {protocol!r} is not known; it should be one of {', '.join(protocols)}")

    # The engine splices its input path into a shell pipeline, so it only ever gets these fixed relative names.
    Path("keys.csv").write_text("\n".join(["key", *keys, ""]), encoding="utf-8")
    config = psi.PsiExecuteConfig(
        protocol_conf=protocols[protocol],
        input_params=psi.InputParams(path="./keys.csv", selected_keys=["key"]),
        output_params=psi.OutputParams(path="./common.csv"),
    )
    traces = set(TRACE_DIRECTORY.glob(TRACE_NAMES))
    try:
        link = connect(task, libspu)
        psi.psi_execute(config, link)
        # Returns once the other side stops too; SIGALRM ends the process should that never happen.
        signal.alarm(STOP_LINK_SECONDS)
        link.stop_link()
        signal.alarm(0)
    except RuntimeError as error:
        # The engine's text continues with a native stack trace.
        reason = " ".join(str(error).removeprefix("what:").partition("stacktrace")[0].split())
        raise TaskError(f"the intersection with {task.peer.domain_id} failed: {reason}") from error
    for trace in set(TRACE_DIRECTORY.glob(TRACE_NAMES)) - traces:
        with contextlib.suppress(OSError):  # it may be another user's, or another task may have removed it
            trace.unlink()
    return sorted(Path("common.csv").read_text(encoding="utf-8").split("\n")[1:-1])


def intersect(task: Task) -> None:
    """Write this party's rows of the common keys, sorted by key, and a summary beside them."""
    started = time.monotonic()
    source, output, key = task.file("input"), task.file("output", "intersection.csv"), task.text("key")
    table = read_table(source, key=key)
    if not table.rows:
        raise TaskError(f"{source.name} has no rows, only the header; the intersection needs at least one")
    for number, value in enumerate(table.rows, start=1):
        if not value.isprintable() or UNSAFE_IN_KEY.intersection(value) or value != value.strip():
            raise TaskError(
                f"{source.name}: row {number}: {key!r} should have no comma, quote, control character or outer space"
            )
    home = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="psi-") as directory:
        os.chdir(directory)
        os.environ["TMPDIR"] = "."  # the engine puts this into its shell pipeline too
        common = find_common_keys(task, list(table.rows))
        os.chdir(home)
    write_table(output, Table(columns=table.columns, key=key, rows={each: table.rows[each] for each in common}))
    write_json(
        output.with_suffix(".json"),
        {
            "input": source.name,
            "input_rows": len(table.rows),
            "common_rows": len(common),
            "seconds": round(time.monotonic() - started, 3),
        },
    )
    print(f"{len(common)} of {len(table.rows)} rows are shared with {task.peer.domain_id}")


def main() -> None:
    """Entry point of psi-intersect."""
    # The engine answers the death of its peer with a native crash; a core file would keep the plain keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    run_program(intersect)
