"""`kusciajob serve`: the job server."""

import asyncio
import contextlib
import gc
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from kusciajob import __version__
from kusciajob.cli import log_format, options, readiness
from kusciajob.cli.errors import EXIT_INTERNAL
from kusciajob.cli.greeting import greeting
from kusciajob.cli.hosting import StopSignals, started
from kusciajob.config import Settings
from kusciajob.files import descriptors as openfiles
from kusciajob.telemetry.log_writer import LogWriter

logger = logging.getLogger(__name__)

COLLECTED_OBJECTS = 20_000
"""The garbage collector looks at young objects when there are so many more than it has seen go."""


@click.command()
@options.settings()
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write addresses and process id to this file, as JSON, once the server serves.",
)
@click.option("--ready-fd", type=click.IntRange(min=1), metavar="NUMBER", help="The same to an open file descriptor.")
@click.option("--exit-with-parent", is_flag=True, help="Stop when the process that has started this one is gone.")
def serve(
    config_file: Path | None,
    *,
    ready_file: Path | None,
    ready_fd: int | None,
    exit_with_parent: bool,
    **flags: str | bool | None,
) -> int:
    """Run the job server until SIGTERM or SIGINT (Ctrl-C).

    Stopping the server stops no task: the next server on the same data directory finds the running ones again.
    A second Ctrl-C ends the server at once. SIGHUP makes it read its certificates and tokens again.
    """
    parent = os.getppid() if exit_with_parent else None
    settings = options.load_settings(flags, config_file)
    log_format.configure(level=settings.log_level, form=settings.log_format, handler=_stderr())
    _prefer_throughput()
    openfiles.raise_limit()
    return asyncio.run(_serve(settings, readiness.Readiness(ready_file, ready_fd), parent))


def _stderr() -> logging.Handler:
    """Not to be waited for; nowhere where the process was started without it."""
    return LogWriter(sys.stderr.fileno()) if sys.stderr else logging.NullHandler()


def _prefer_throughput() -> None:
    """Be scheduled in batches: fewer switches between gRPC's threads and ours, for a latency of our own choosing.

    All threads of the server are made after this. Programs of tasks are started as the default class again.
    """
    with contextlib.suppress(OSError):  # some sandboxes forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _spare_the_collector() -> None:
    """What is there now stays; and hardly anything of what comes refers to itself, so looking for that can wait."""
    gc.freeze()
    gc.set_threshold(COLLECTED_OBJECTS)


async def _serve(settings: Settings, ready: readiness.Readiness, parent: int | None) -> int:
    signals = StopSignals()
    if signals.arrival.done():
        logger.info("received %s before the start", signals.arrival.result().name)
        return 0
    if settings.testing:
        logger.warning("for tests of clients only: programs are simulated, quirks: %s", settings.quirks)
    async with started(settings) as server:
        signals.obey_hang_ups(server.reload)
        told = greeting(settings, grpc_port=server.grpc_port, http_port=server.http_port, app_images=server.app_images)
        more = {log_format.LINES: told.lines, log_format.DETAILS: told.details}
        logger.info("kusciajob %s is up", __version__, extra=more)
        _spare_the_collector()
        ready.tell(settings, grpc_port=server.grpc_port, http_port=server.http_port)
        failure = asyncio.ensure_future(server.wait_failed())
        orphaned = asyncio.ensure_future(readiness.until_orphaned(parent))
        ends: list[asyncio.Future[Any]] = [signals.arrival, failure, orphaned]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            error = failure.exception()
            logger.critical("a part of the server has died, stopping: %s", error, exc_info=error)
            return EXIT_INTERNAL
        cause = f"received {signals.arrival.result().name}" if signals.arrival.done() else "the parent process is gone"
        logger.info("%s, stopping; tasks go on running", cause)
        failure.cancel()
        orphaned.cancel()
    logger.info("stopped")
    return 0
