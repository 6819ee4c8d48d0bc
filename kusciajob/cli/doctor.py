"""`kusciajob doctor`: looks for what is wrong in a data directory."""

import json
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import click

from kusciajob.cli import options, terminal
from kusciajob.cli.errors import EXIT_FAILED, CommandError
from kusciajob.operations import datadir, formats
from kusciajob.operations.doctor import Level, examine, set_damage_aside


@click.command()
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="KUSCIAJOB_DATA_DIR",
    show_envvar=True,
    default="kusciajob-data",
    show_default=True,
    help="The server's data directory.",
)
@click.option("--repair", "is_repair", is_flag=True, help="Set damaged rows aside first; the server must be stopped.")
@options.text_output
def doctor(data_dir: Path, is_repair: bool, output: str) -> int:
    """Check a data directory, whether its server runs or not: every record, what was lost, strays, jobs that wait.

    Nothing is changed without --repair: that moves damaged records to the table `damaged` of the database, so that
    their job ids are free. Exit code 1 when there is a problem.
    """
    found = []
    try:
        with datadir.held(data_dir) if is_repair else nullcontext():
            if is_repair:
                formats.check(data_dir)
            for finding in chain(set_damage_aside(data_dir) if is_repair else (), examine(data_dir)):
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
