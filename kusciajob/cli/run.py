"""`kusciajob run`: one job with a server of its own, in this process."""

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import log_format, options, outputs, tables, terminal, texts
from kusciajob.cli.errors import EXIT_FAILED, CommandError, ServerDied, WronglyCalled
from kusciajob.cli.hosting import StopSignals, started
from kusciajob.cli.job_request import read_request
from kusciajob.cli.program_output import ProgramOutput
from kusciajob.cli.progress import Progress
from kusciajob.cli.remote import connected
from kusciajob.cli.texts import FINAL_STATES
from kusciajob.client.calling import Calling
from kusciajob.config import Settings
from kusciajob.operations import datadir
from kusciajob.runtime.process.layout import PASSAGE
from kusciajob.telemetry.log_writer import LogWriter

HOST = "127.0.0.1"
# The server is there for this process only.
_PRIVATE = {"host": HOST, "grpc_port": 0, "http_port": -1, "protocol": "notls"}


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work there and keep it.  [default: a temporary directory, kept only where it holds something to look at]",
)
@click.option("--logs", "shows_logs", is_flag=True, help="Show what the programs write, as they write it.")
@options.settings(without={*_PRIVATE, "cert_dir", "allow_insecure_bind", "data_dir"})
@options.output
def run(
    file: Path, data_dir: Path | None, shows_logs: bool, output: str, config_file: Path | None, **flags: str | None
) -> int:
    """Run the job in FILE to its end and show its progress and result.

    FILE is a CreateJobRequest as JSON or YAML, or a KusciaJob as YAML; - reads stdin. The exit code is 0 only when the
    job has Succeeded. Progress and the programs' output go to stderr, the result goes to stdout. Ctrl-C stops the job
    first; a second Ctrl-C leaves at once.
    """
    request = read_request(file)
    settings = options.load_settings({**flags, **_PRIVATE}, config_file)
    call = _Call(request, output, shows_logs)
    if data_dir:
        return _run_in(data_dir, settings, call, is_temporary=False)
    if settings.runtime == "process" and not settings.app_image_dir:
        raise WronglyCalled("where are the job's AppImages? Name their directory by --app-image-dir")
    directory = Path(tempfile.mkdtemp(prefix="kusciajob-"))
    if settings.users:
        directory.chmod(PASSAGE)
    return _run_in(directory, settings, call, is_temporary=True)


class _Call(Struct, frozen=True):
    """What is to be run and how it is shown."""

    request: pb.CreateJobRequest
    output: str
    shows_logs: bool


class _Ended(Struct, frozen=True):
    """How the job came to its end."""

    job: pb.JobStatus
    """Its last status; empty where it was never created."""
    interrupted_by: str
    """The signal's name; empty where none came."""
    exit_code: int
    told: texts.Told
    """What its progress has told."""


def _run_in(directory: Path, settings: Settings, call: _Call, *, is_temporary: bool) -> int:
    is_kept = not is_temporary
    try:
        _begin_log(directory, settings)
        settings = replace(settings, data_dir=directory)
        since = time.time()
        ended = asyncio.run(_run(call, settings))
        if not ended.job.status.state:
            _say(f"received {ended.interrupted_by} before job {ended.job.job_id} was created: nothing has run")
            return ended.exit_code
        if call.output == "json":
            tables.print_json(ended.job)
        elif not ended.interrupted_by:
            tables.print_result(ended.job, ended.told if terminal.is_one_place() else texts.Told())
        found = outputs.find(ended.job, settings, since=since)
        # Elsewhere, with --domains-dir, they outlive the directory.
        has_outputs = any(each.is_relative_to(directory) for each in found.directories)
        is_kept = is_kept or has_outputs or ended.exit_code != 0
        _say(_epilogue(ended, found, directory, is_kept=is_kept))
        return ended.exit_code
    finally:
        if not is_kept:
            shutil.rmtree(directory, ignore_errors=True)


def _begin_log(directory: Path, settings: Settings) -> None:
    try:
        datadir.claim(directory, mode=PASSAGE if settings.users else 0o700)
        log_file = os.open(directory / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except datadir.DataDirectoryError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"the data directory cannot be used: {error}") from None
    log_format.configure(level=settings.log_level, form=settings.log_format, handler=LogWriter(log_file))


def _epilogue(ended: _Ended, found: outputs.Outputs, directory: Path, *, is_kept: bool) -> str:
    """The last line: what became of the job where Ctrl-C ended it, and where to look."""
    if not is_kept:
        return f"{found.text}, and nothing else is kept: name a directory by --data-dir to keep logs and records"
    places = f"for the logs see {' and '.join(map(str, outputs.logs(directory)))}"
    if found.directories or not ended.exit_code:
        places = f"{found.text}; {places}"
    if not ended.interrupted_by:
        return places
    status = ended.job.status
    told = "stopped the job" if status.state == "Failed" else f"the job had ended as {status.state} already"
    return f"received {ended.interrupted_by}: {told} ({texts.counts(status)}); {places}"


def _say(text: str) -> None:
    terminal.say_line(f"kusciajob: {text}", err=True)


async def _run(call: _Call, settings: Settings) -> _Ended:
    signals = StopSignals()
    progress, job_id = Progress(is_moving=not call.shows_logs), call.request.job_id
    async with started(settings) as server, connected(options.Target(f"{HOST}:{server.grpc_port}")) as calling:
        if signals.arrival.done():
            return _Ended(pb.JobStatus(job_id=job_id), signals.arrival.result().name, signals.exit_code, progress.told)
        await calling.ask(calling.stubs.jobs.CreateJob, call.request)
        programs = ProgramOutput(calling, call.request, progress.printed) if call.shows_logs else None
        failure = asyncio.ensure_future(server.wait_failed())
        following = asyncio.ensure_future(_follow(calling, job_id, progress, programs))
        try:
            async with progress.shown():
                ends: list[asyncio.Future[Any]] = [following, failure, signals.arrival]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                is_interrupted = signals.arrival.done() and not following.done()
                if is_interrupted:
                    progress.note = "stopping, Ctrl-C again leaves at once"
                    reason = f"kusciajob run received {signals.arrival.result().name}"
                    stop = pb.StopJobRequest(job_id=job_id, reason=reason)
                    await calling.ask(calling.stubs.jobs.StopJob, stop)
                    await asyncio.wait({following, failure}, return_when=asyncio.FIRST_COMPLETED)
            if failure.done():
                raise ServerDied(f"a part of the server has died: {failure.exception()}")
            job = following.result()
        finally:
            failure.cancel()
            following.cancel()
    if is_interrupted:
        return _Ended(job, signals.arrival.result().name, signals.exit_code, progress.told)
    return _Ended(job, "", 0 if job.status.state == "Succeeded" else EXIT_FAILED, progress.told)


async def _follow(calling: Calling, job_id: str, progress: Progress, programs: ProgramOutput | None) -> pb.JobStatus:
    """The job once it is finished, and all that its programs wrote is shown; its progress is told meanwhile."""
    event: pb.WatchJobEventResponse
    async for event in calling.stream(calling.stubs.jobs.WatchJob, pb.WatchJobRequest()):
        if event.object.job_id != job_id or event.type not in (pb.ADDED, pb.MODIFIED):
            continue
        is_over = event.object.status.state in FINAL_STATES
        if programs is not None:
            programs.take(event.object)
            if is_over:
                await programs.finish()  # before the line that tells the end
        await progress.take(event.object)
        if is_over:
            return event.object
    raise ServerDied(f"the watch of job {job_id} ended before the job")
