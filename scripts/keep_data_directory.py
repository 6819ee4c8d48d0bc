"""Makes a data directory with jobs in all states, and keeps it as a resource of the tests.

    PYTHONPATH=<checkout of a version> python scripts/keep_data_directory.py NAME

Run it with the code of a version before a format on disk changes: tests/integration/test_old_data_directories.py opens
what is kept with the program of today. Beside the files, the archive has `answers.json`: what the server of that
version answered. It is a script for any version: it uses the command line and the HTTP API, nothing from inside.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parents[1] / "tests" / "resources" / "data_directories"
LEFT_OUT = ("jobs.db-wal", "jobs.db-shm", "shim.sock", "lock")
PATIENCE_SECONDS = 60.0
TASKS_OF_LARGE = 128
LARGE_INPUT = "kept apart from the specification; " * 2500
ENDED = ("Succeeded", "Failed", "Cancelled", "ApprovalReject")
IMAGES = {
    "good": "echo out of $KUSCIAJOB_DOMAIN_DIR | sed s:.*/::; echo 'ünïcode' >&2; cat conf/task.json",
    "bad": "echo before the failure; echo no such column >&2; exit 3",
    "endless": "echo I wait; exec sleep 3600",
}

Ask = Callable[..., Any]


def main() -> None:
    """Keep what the importable version of the program makes, by the name on the command line."""
    (name,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        data = Path(place, "data")
        _write_images(data / "appimages")
        (data / "domains.yaml").write_text("alice: {values: {table: patients}}\n")
        _run("init", "--dir", data / "certs", "--domain", "alice", "--domain", "bob", "--san", "127.0.0.1")
        with _server(data) as ask:
            _make_jobs(ask)
        with _server(data, "--require-approval") as ask:
            _make_approvals(ask)
        with _server(data, "--max-running-parties", "2") as ask:
            _make_unfinished(ask)
            answers = _record(ask)
        _kill_programs(data)
        _damage(data / "jobs.db")
        for left_out in LEFT_OUT:
            (data / left_out).unlink(missing_ok=True)
        (data / "answers.json").write_text(json.dumps(answers, ensure_ascii=False))
        KEPT.mkdir(parents=True, exist_ok=True)
        with tarfile.open(KEPT / f"{name}.tar.xz", "w:xz", preset=9) as archive:
            archive.add(data, "data", filter=_without_owner)
    print(f"kept {KEPT / name}.tar.xz, {(KEPT / f'{name}.tar.xz').stat().st_size} bytes")


def _make_jobs(ask: Ask) -> None:
    _create(ask, "succeeded", _task("first", "good"), _task("second", "good", dependencies=["first"]))
    _create(ask, "failed", _task("first", "bad", ["alice"]), _task("second", "good", dependencies=["first"]))
    _create(ask, "failed-again", _task("only", "bad", ["bob"]))
    _create(ask, "damaged", _task("only", "good", ["alice"]))
    _create(ask, "deleted", _task("only", "good", ["alice"]))
    _create(ask, "large-input", _task("only", "good", ["alice"], task_input_config=LARGE_INPUT))
    for job in ("succeeded", "failed", "failed-again", "damaged", "deleted", "large-input"):
        _await(ask, job, *ENDED)
    ask("job/restart", job_id="failed-again", reason="once more")
    _until(lambda: "execute the cmd: Restart" not in _status(ask, "failed-again")["err_msg"])
    _await(ask, "failed-again", "Failed")
    ask("job/delete", job_id="deleted")
    for job in ("stopped", "cancelled", "suspended"):
        _create(ask, job, _task("only", "endless"), _task("later", "good", dependencies=["only"]))
        _await(ask, job, "Running")
    ask("job/stop", job_id="stopped", reason="no longer wanted")
    ask("job/cancel", job_id="cancelled", reason="schade")
    ask("job/suspend", job_id="suspended", reason="for a while")
    _await(ask, "suspended", "Suspended")


def _make_approvals(ask: Ask) -> None:
    large = (_task(f"task-{number}", "good", ["alice", "bob", "carol", "dave"]) for number in range(TASKS_OF_LARGE))
    _create(ask, "large", *large)
    _create(ask, "rejected", _task("only", "good"))
    _create(ask, "awaiting", _task("only", "good", ["alice", "bob", "carol"]))
    ask("job/approve", job_id="rejected", result="APPROVE_RESULT_REJECT", reason="not by me", domain="bob")
    ask("job/approve", job_id="awaiting", result="APPROVE_RESULT_ACCEPT", domain="bob")
    _create(ask, "accepted", _task("only", "good"))
    ask("job/approve", job_id="accepted", result="APPROVE_RESULT_ACCEPT", domain="bob")
    _await(ask, "accepted", "Succeeded")


def _make_unfinished(ask: Ask) -> None:
    _create(ask, "running", _task("only", "endless"))
    _await(ask, "running", "Running")
    _create(ask, "pending", _task("only", "good"))


def _record(ask: Ask) -> dict[str, Any]:
    """What the server answers about all jobs."""
    names = "succeeded failed failed-again large-input stopped cancelled suspended large rejected awaiting accepted"
    jobs = [*names.split(), "running", "pending"]
    answers: dict[str, Any] = {"jobs": {}, "logs": {}}
    for job in jobs:
        answers["jobs"][job] = data = ask("job/query", job_id=job)["data"]
        for task in data["status"]["tasks"][:2]:
            for party in task["parties"]:
                answers["logs"][f"{task['task_id']} {party['domain_id']}"] = ask.log(  # type: ignore[attr-defined]
                    task["task_id"], party["domain_id"]
                )
    return answers


def _task(alias: str, image: str, domains: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    parties = [{"domain_id": domain} for domain in domains or ["alice", "bob"]]
    return {"alias": alias, "app_image": image, "parties": parties, "task_input_config": "{}", **fields}


def _create(ask: Ask, job: str, *tasks: dict[str, Any]) -> None:
    ask(
        "job/create",
        job_id=job,
        initiator="alice",
        max_parallelism=2,
        tasks=[{"task_id": f"{job}-{task['alias']}", **task} for task in tasks],
        custom_fields={"project": job},
    )


def _status(ask: Ask, job: str) -> dict[str, Any]:
    status: dict[str, Any] = ask("job/query", job_id=job)["data"]["status"]
    return status


def _await(ask: Ask, job: str, *states: str) -> None:
    _until(lambda: _status(ask, job)["state"] in states)


def _until(is_true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError("it does not come")
        time.sleep(0.05)


class _Caller:
    """Calls the API over TLS, as the master where no domain is named."""

    def __init__(self, address: str, certs: Path) -> None:
        self._address = address
        self._certs = certs
        self._context = ssl.create_default_context(cafile=certs / "ca.crt")
        self._context.load_cert_chain(certs / "client.crt", certs / "client.key")

    def __call__(self, path: str, *, domain: str = "", **body: Any) -> Any:
        answer = json.loads(self._read(path, body, domain=domain))
        if answer["status"]["code"] != 0:
            raise RuntimeError(f"{path}: {answer}")
        return answer

    def log(self, task_id: str, domain: str) -> str:
        lines = self._read(
            "log/task/query", {"task_id": task_id, "local": True, "header": _header(domain)}
        ).splitlines()
        answers = [json.loads(line) for line in lines]
        return "".join(answer.get("result", answer).get("log", "") for answer in answers)

    def _read(self, path: str, body: dict[str, Any], *, domain: str = "") -> str:
        file = self._certs / (f"domains/{domain}.token" if domain else "token")
        headers = {"Content-Type": "application/json", "Token": file.read_text().strip()}
        request = urllib.request.Request(  # of our own server
            f"https://{self._address}/api/v1/{path}", data=json.dumps(body).encode(), headers=headers
        )
        with urllib.request.urlopen(request, context=self._context, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            return str(response.read().decode())


def _header(domain: str) -> dict[str, Any]:
    return {"custom_headers": {"domain": domain}}


@contextlib.contextmanager
def _server(data: Path, *options: str) -> Iterator[_Caller]:
    log = data.with_name("server.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(  # not in the working directory: its modules would go first
            _program("serve", "--data-dir", data, "--grpc-port", "0", "--http-port", "0", *options),
            stderr=stream,
            cwd="/",
        )
    try:

        def address() -> re.Match[str] | None:
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            return re.search(r"serving HTTP on (\S+)", log.read_text())

        _until(address)
        _until(lambda: "serving gRPC" in log.read_text())
        (found,) = re.findall(r"serving HTTP on (\S+)", log.read_text())
        yield _Caller(found, data / "certs")
        process.terminate()
        if process.wait() != 0:
            raise RuntimeError(log.read_text())
    finally:
        process.kill()


def _write_images(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name, script in IMAGES.items():
        container = {
            "name": "main",
            "command": ["sh", "-c", script],
            "workingDir": "/work",
            "configVolumeMounts": [{"mountPath": "/work/conf/task.json", "subPath": "task.json"}],
            "ports": [{"name": "port", "protocol": "TCP", "scope": "Cluster"}],
        }
        deploy = {"name": name, "replicas": 1, "spec": {"containers": [container]}}
        image = {
            "apiVersion": "kuscia.secretflow/v1alpha1",
            "kind": "AppImage",
            "metadata": {"name": name},
            "spec": {
                "image": {"name": name, "tag": "1"},
                "configTemplates": {"task.json": '{"task_id": "{{.TASK_ID}}"}'},
                "deployTemplates": [deploy],
            },
        }
        (directory / f"{name}.yaml").write_text(json.dumps(image))


def _kill_programs(data: Path) -> None:
    """The shim first: nothing is left to record how its programs ended, as after a power loss."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                is_shim = os.fsencode(data) in (entry / "cmdline").read_bytes().split(b"\0")
                if is_shim or os.readlink(entry / "cwd").startswith(f"{data}/"):
                    found.append((not is_shim, int(entry.name)))
    for _, pid in sorted(found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _damage(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        changed = connection.execute("UPDATE job SET status = x'7b22' WHERE job_id = 'damaged'").rowcount
        if changed != 1:
            raise RuntimeError("there is no job to damage")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry if entry.isfile() or entry.isdir() else None


def _run(*words: object) -> None:
    subprocess.run(_program(*words), check=True, stdout=subprocess.DEVNULL, cwd="/")


def _program(*words: object) -> list[str]:
    return [sys.executable, "-m", "kusciajob", *map(str, words)]


if __name__ == "__main__":
    main()
