"""Whatever a server, a job or a program says: it is shown on the terminal and does nothing to it."""

import asyncio
import json
import os
import pty
import subprocess
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2
from tests.support.program import Finished, argv, job_file, kusciajob, shell_image, shell_task, task
from tests.support.server import clean_environment, running_server

pytestmark = pytest.mark.hostile

# Writes to the clipboard, clears the screen (twice), goes back to the line's start, begins new ones, turns text around.
HOSTILE = "x\x1b]52;c;cm0=\x07\x1b[2J\x9b2J\rcovered\nforged\x85forged\u2028forged\u202eevil\u200b[bold]x[/bold]"
TIME = "2025-04-16T10:42:55Z"
END_SECONDS = 20


def acting(output: str) -> set[str]:
    """The characters in it, beside line breaks, that a terminal would act on or not show."""
    return {character for character in output if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}} - {"\n"}


def hostile_services(code: int) -> "list[grpc.GenericRpcHandler[Any, Any]]":
    """Every call is answered with that code, and with hostile text wherever there is text."""
    status = common_pb2.Status(code=code, message=HOSTILE)
    party = pb.PartyStatus(domain_id=HOSTILE, state=HOSTILE, err_msg=HOSTILE)
    party.endpoints.add(port_name=HOSTILE, scope=HOSTILE, endpoint=HOSTILE)
    detail = pb.JobStatusDetail(state=HOSTILE, err_msg=HOSTILE, create_time=TIME, start_time=HOSTILE)
    detail.tasks.add(task_id=HOSTILE, alias=HOSTILE, state="Failed", err_msg=HOSTILE * 2, parties=[party, party])
    detail.tasks[0].start_time = TIME
    detail.approve_status_list.add(domain_id=HOSTILE, state=HOSTILE)
    whole = pb.QueryJobResponseData(job_id=HOSTILE, initiator=HOSTILE, status=detail)
    whole.custom_fields[HOSTILE] = HOSTILE
    whole.tasks.add(task_id=HOSTILE, alias=HOSTILE, app_image=HOSTILE, dependencies=[HOSTILE])
    job = pb.JobStatus(job_id="job", status=detail)
    batch = pb.BatchQueryJobStatusResponseData(jobs=[job])
    answers: dict[str, Message] = {
        "CreateJob": pb.CreateJobResponse(status=status, data=pb.CreateJobResponseData(job_id=HOSTILE)),
        "QueryJob": pb.QueryJobResponse(status=status, data=whole),
        "BatchQueryJobStatus": pb.BatchQueryJobStatusResponse(status=status, data=batch),
        "StopJob": pb.StopJobResponse(status=status, data=pb.StopJobResponseData(job_id=HOSTILE)),
    }
    kinds = (pb.ADDED, pb.MODIFIED, pb.ERROR, pb.DELETED)
    events = [pb.WatchJobEventResponse(type=kind, object=job) for kind in kinds]
    log = [f"first\r\n{HOSTILE[:7]}", f"{HOSTILE[7:]}\n{HOSTILE}"]
    pieces = [log_pb2.QueryLogResponse(status=status, log=text) for text in log]
    jobs = {name: _unary(answer) for name, answer in answers.items()}
    jobs |= {"DeleteJob": grpc.unary_unary_rpc_method_handler(_abort), "WatchJob": _stream(events)}
    return [
        grpc.method_handlers_generic_handler(service.full_name, handlers)
        for service, handlers in (
            (pb.DESCRIPTOR.services_by_name["JobService"], jobs),
            (log_pb2.DESCRIPTOR.services_by_name["LogService"], {"QueryLog": _stream(pieces)}),
        )
    ]


def _unary(answer: Message) -> "grpc.RpcMethodHandler[Any, Any]":
    async def serve(request: bytes, context: Any) -> bytes:
        return answer.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(serve)


def _stream(answers: Sequence[Message]) -> "grpc.RpcMethodHandler[Any, Any]":
    async def serve(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for answer in answers:
            yield answer.SerializeToString()

    return grpc.unary_stream_rpc_method_handler(serve)


async def _abort(request: bytes, context: Any) -> None:
    await context.abort(grpc.StatusCode.INTERNAL, HOSTILE)


@pytest.fixture(params=[0, 11101], ids=["answers", "refuses"])
async def hostile(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of a hostile server."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(hostile_services(request.param))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def run(*arguments: object, address: str = "") -> Finished:
    return await asyncio.to_thread(kusciajob, *arguments, KUSCIAJOB_SERVER=address)


def run_on_terminal(*arguments: object, address: str) -> str:
    """What the program writes to a terminal, both of its outputs; the terminal's own line ends are taken back."""
    controller, terminal = pty.openpty()
    environment = {**clean_environment(), "KUSCIAJOB_SERVER": address, "TERM": "dumb", "COLUMNS": "500"}
    with subprocess.Popen(
        argv(*arguments), env=environment, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        pieces = []
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while piece := os.read(controller, 65536):
                pieces.append(piece)
        os.close(controller)
        process.wait(END_SECONDS)
    return b"".join(pieces).decode().replace("\r\n", "\n")


async def test_no_command_passes_on_what_would_act(hostile: str, tmp_path: Path) -> None:
    commands = [
        ("create", "-f", job_file(tmp_path, "job")),
        ("get", "job"),
        ("status", "job"),
        ("stop", "job"),
        ("delete", "job"),
        ("watch", "job"),
    ]
    ended = await asyncio.gather(
        *(run(*command, *form, address=hostile) for command in commands for form in ((), ("-o", "json")))
    )
    for finished in ended:
        output = finished.stdout + finished.stderr
        assert "unexpected error" not in output, output
        assert acting(output) == set(), ascii(output)
        assert not [line for line in output.splitlines() if line.startswith(("forged", "covered"))], output
    tables = "".join(finished.stdout + finished.stderr for finished in ended)
    assert r"x\x1b]52;c;cm0=\x07\x1b[2J\x9b2J\rcovered" in tables
    assert "[bold]x[/bold]" in tables, "rich takes no text of others for its markup"


async def test_json_holds_what_was_said(hostile: str) -> None:
    finished = await run("get", "job", "-o", "json", address=hostile)
    if finished.returncode == 0:
        assert json.loads(finished.stdout)["status"]["err_msg"] == HOSTILE
        assert r"\u009b2J" in finished.stdout


async def test_logs_are_cleaned_on_a_terminal_and_each_line_keeps_its_mark(hostile: str) -> None:
    shown = await asyncio.to_thread(run_on_terminal, "logs", "job", address=hostile)
    assert acting(shown) == set(), ascii(shown)
    assert r"x\x1b]52;c;cm0=\x07" in shown
    lines = shown.splitlines()
    mark = " | "
    assert all(mark in line or line.startswith("kusciajob: ") for line in lines), shown


async def test_a_program_cannot_forge_the_lines_of_another_party(tmp_path: Path) -> None:
    script = r"printf 'a\nwork bob | forged\rwork bob | forged\033[2K\302\205work bob | forged\n'"
    async with running_server(tmp_path, app_image_dir=shell_image(tmp_path)) as server:
        file = job_file(tmp_path, "two", shell_task("work", script))
        created = await run("create", "-f", file, address=server.address)
        assert created.returncode == 0, created.stderr
        assert (await run("watch", "two", address=server.address)).returncode == 0
        shown = await asyncio.to_thread(run_on_terminal, "logs", "two", address=server.address)
        assert shown.splitlines() == [
            f"work {domain} | {line}"
            for domain in ("alice", "bob")
            for line in ("a", r"work bob | forged\rwork bob | forged\x1b[2K\x85work bob | forged")
        ]
        # For other programs it is what was written.
        piped = await run("logs", "two", "--party", "alice", address=server.address)
        expected = "a\nwork bob | forged\nwork bob | forged\x1b[2K\x85work bob | forged\n"  # text mode reads \r as \n
        assert piped.stdout == expected


async def test_what_is_typed_or_read_from_files_is_cleaned_too(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"job_id": HOSTILE, "initiator": HOSTILE, HOSTILE: 1, "tasks": [task()]}))
    for arguments in (
        ("create", "-f", broken),
        ("run", "--runtime", "simulated", broken),
        ("get", "job", f"--{HOSTILE}"),
        (HOSTILE,),
        ("serve", "--grpc-port", HOSTILE),
    ):
        finished = await run(*arguments)
        assert finished.returncode != 0
        assert acting(finished.stdout + finished.stderr) == set(), ascii(finished.stderr)


async def test_run_shows_the_job_cleaned(tmp_path: Path) -> None:
    script = {"parties": {"bob": {"exit_code": 3, "message": HOSTILE}}}
    file = job_file(tmp_path, "run", task("\x1b[2Jalias\u202e", script=script))
    finished = await run("run", "--runtime", "simulated", file)
    assert finished.returncode == 1
    assert r"\x1b[2Jalias\u202e" in finished.stdout + finished.stderr
    assert acting(finished.stdout + finished.stderr) == set(), ascii(finished.stdout + finished.stderr)


def test_only_one_module_writes_to_the_terminal() -> None:
    package = Path(__file__).parents[2] / "kusciajob"
    writers = ("click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write", "print_exc(", " print(")
    found = {
        file.name
        for file in (package / "cli").glob("*.py")
        for line in file.read_text().splitlines()
        if any(writer in line for writer in writers) and "health" not in line  # a line for users to run
    }
    assert found == {"terminal.py"}
