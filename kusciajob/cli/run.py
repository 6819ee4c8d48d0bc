"""`kusciajob run`: one job with a server of its own, in this process."""

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from kusciajob import datadir
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import log_format, options, tables, terminal
from kusciajob.cli.errors import EXIT_FAILED, CommandError, ServerDied, WronglyCalled
from kusciajob.cli.hosting import StopSignals, started
from kusciajob.cli.job_request import read_request
from kusciajob.cli.progress import Progress
from kusciajob.cli.remote import connected
from kusciajob.cli.texts import FINAL_STATES
from kusciajob.client.connection import Connection
from kusciajob.config import Settings
from kusciajob.runtime.party import PASSAGE

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
@options.settings(without={*_PRIVATE, "cert_dir", "allow_insecure_bind", "data_dir"})
@options.output
def run(file: Path, data_dir: Path | None, output: str, config_file: Path | None, **flags: str | None) -> int:
    """Run the job in FILE to its end and show its progress and result.

    FILE is a CreateJobRequest as JSON or YAML, or a KusciaJob as YAML; - reads stdin. The exit code is 0 only when the
    job has Succeeded. Ctrl-C stops the job first; a second Ctrl-C leaves at once.
    """
    request = read_request(file)
    settings = options.load_settings({**flags, **_PRIVATE}, config_file)
    if data_dir:
        return _run_in(data_dir, request, settings, output)
    if settings.runtime == "process" and not settings.app_image_dir:
        raise WronglyCalled("where are the job's AppImages? Name their directory by --app-image-dir")
    directory = Path(tempfile.mkdtemp(prefix="kusciajob-"))
    is_kept = False
    try:
        if settings.users:
            directory.chmod(PASSAGE)
        exit_code = _run_in(directory, request, settings, output)
        is_kept = exit_code != 0 or _keep_results(directory)
    finally:
        if not is_kept:
            shutil.rmtree(directory, ignore_errors=True)
    return exit_code


def _run_in(directory: Path, request: pb.CreateJobRequest, settings: Settings, output: str) -> int:
    try:
        datadir.claim(directory, mode=PASSAGE if settings.users else 0o700)
        log_file = logging.FileHandler(directory / "server.log")
    except datadir.DataDirectoryError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"the data directory cannot be used: {error}") from None
    log_format.configure(level=settings.log_level, form=settings.log_format, handler=log_file)
    exit_code = asyncio.run(_run(request, replace(settings, data_dir=directory), output))
    if exit_code:
        places = [directory / name for name in ("runs", "server.log") if (directory / name).exists()]
        terminal.say_line(f"kusciajob: for the logs see {' and '.join(map(str, places))}", err=True)
    return exit_code


async def _run(request: pb.CreateJobRequest, settings: Settings, output: str) -> int:
    signals, progress = StopSignals(), Progress()
    async with started(settings) as server, connected(options.Target(f"{HOST}:{server.grpc_port}")) as connection:
        await connection.call(connection.jobs.CreateJob, request)
        failure = asyncio.ensure_future(server.wait_failed())
        following = asyncio.ensure_future(_follow(connection, request.job_id, progress))
        try:
            with progress.shown():
                ends: list[asyncio.Future[Any]] = [following, failure, signals.arrival]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                is_interrupted = signals.arrival.done() and not following.done()
                if is_interrupted:
                    reason = f"kusciajob run received {signals.arrival.result().name}"
                    stop = pb.StopJobRequest(job_id=request.job_id, reason=reason)
                    await connection.call(connection.jobs.StopJob, stop)
                    await asyncio.wait({following, failure}, return_when=asyncio.FIRST_COMPLETED)
            if failure.done():
                raise ServerDied(f"a part of the server has died: {failure.exception()}")
            job = following.result()
        finally:
            failure.cancel()
            following.cancel()
        if output == "json":
            tables.print_json(job)
        else:
            tables.print_result(job)
    if is_interrupted:
        return signals.exit_code
    return 0 if job.status.state == "Succeeded" else EXIT_FAILED


async def _follow(connection: Connection, job_id: str, progress: Progress) -> pb.JobStatus:
    """The job once it is finished; its progress is told meanwhile."""
    async for event in connection.watch():
        if event.object.job_id == job_id and event.type in (pb.ADDED, pb.MODIFIED):
            progress.take(event.object)
            if event.object.status.state in FINAL_STATES:
                return event.object
    raise ServerDied(f"the watch of job {job_id} ended before the job")


def _keep_results(directory: Path) -> bool:
    """Whether programs left files for their domains there; the user is told where."""
    domains = directory / "domains"
    has_results = any(path.is_file() for path in domains.rglob("*"))
    if has_results:
        terminal.say_line(f"kusciajob: for the domains' files see {domains}", err=True)
    return has_results
