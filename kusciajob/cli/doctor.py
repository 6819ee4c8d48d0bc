"""`kusciajob doctor`: looks for what is wrong in a data directory."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import click

from kusciajob import config
from kusciajob.cli import options, terminal
from kusciajob.cli.errors import EXIT_FAILED, CommandError, WronglyCalled
from kusciajob.cli.migrate import shared_store
from kusciajob.operations import datadir, formats
from kusciajob.operations.doctor import Finding, Level, examine, examine_engine, set_damage_aside
from kusciajob.runtimes import ENGINES, RuntimeUnavailable, open_engine


@click.command()
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="KUSCIAJOB_DATA_DIR",
    show_envvar=True,
    default="kusciajob-data",
    show_default=True,
    help="The server's data directory.",
)
@click.option(
    "--app-image-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="KUSCIAJOB_APP_IMAGE_DIR",
    show_envvar=True,
    help="The server's directory of AppImage files. [default: <data-dir>/appimages]",
)
@click.option("--repair", "is_repair", is_flag=True, help="Set damaged rows aside first; the server must be stopped.")
@click.option(
    "--runtime",
    type=click.Choice(sorted(ENGINES)),
    help="Ask the engine of that runtime, too, what it has of this server; its settings come from the environment.",
)
@options.shared_store(is_required=False)
@options.text_output
def doctor(
    *,
    data_dir: Path,
    app_image_dir: Path | None,
    is_repair: bool,
    runtime: str | None,
    store: str,
    store_password_file: Path | None,
    output: str,
) -> int:
    """Check a data directory, whether its server runs or not: every record, what was lost, strays, jobs that wait.

    With --store it checks the database that servers share instead.

    Nothing is changed without --repair: that moves damaged records to the table `damaged` of the database, so that
    their job ids are free. Exit code 1 when there is a problem.
    """
    if store and (is_repair or runtime):
        raise WronglyCalled("--repair and --runtime are for a data directory, not for --store")
    if not store and not data_dir.is_dir():
        raise WronglyCalled(f"--data-dir: directory '{data_dir}' does not exist")
    found = []
    logging.getLogger("kusciajob").addHandler(logging.NullHandler())  # what is found is told, not logged
    try:
        with datadir.held(data_dir) if is_repair else nullcontext():
            if is_repair:
                formats.check(data_dir)
            for finding in chain(
                set_damage_aside(data_dir) if is_repair else (),
                _examine_shared(store, store_password_file) if store else examine(data_dir, app_image_dir),
                _ask_engine(data_dir, runtime) if runtime else (),
            ):
                found.append(finding)
                if output != "json":
                    terminal.say(f"{finding.level:8}{terminal.one_line(finding.text)}")
    except datadir.DataDirectoryError as error:
        raise CommandError(str(error)) from None
    is_sound = all(finding.level is not Level.PROBLEM for finding in found)
    if output == "json":
        findings = [{"level": finding.level, "text": finding.text} for finding in found]
        terminal.say_json(json.dumps({"sound": is_sound, "findings": findings}, ensure_ascii=False, indent=2))
    return 0 if is_sound else EXIT_FAILED


def _examine_shared(store: str, password_file: Path | None) -> Iterator[Finding]:
    tools = shared_store()

    async def ask() -> list[Finding]:
        return [finding async for finding in tools.examine(config.load({"store": store}).store, password_file)]

    try:
        yield from asyncio.run(ask())
    except config.SettingsError as error:
        raise CommandError(str(error)) from None


def _ask_engine(data_dir: Path, runtime: str) -> Iterator[Finding]:
    try:
        settings = config.load({"data_dir": str(data_dir), "runtime": runtime})

        async def ask() -> list[Finding]:
            return await examine_engine(data_dir, open_engine(settings))

        yield from asyncio.run(ask())
    except (config.SettingsError, RuntimeUnavailable) as error:
        raise CommandError(str(error)) from None
