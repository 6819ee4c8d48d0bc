"""`kusciajob doctor`: looks for what is wrong in a data directory."""

from pathlib import Path

import click

from kusciajob.cli import terminal
from kusciajob.cli.errors import EXIT_FAILED
from kusciajob.doctor import Level, examine


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
def doctor(data_dir: Path) -> int:
    """Check a data directory, whether its server runs or not: integrity, strays, jobs that wait and why.

    Nothing is changed. Exit code 1 when there is a problem.
    """
    is_sound = True
    for finding in examine(data_dir):
        is_sound = is_sound and finding.level is not Level.PROBLEM
        terminal.say(f"{finding.level:8}{terminal.one_line(finding.text)}")
    return 0 if is_sound else EXIT_FAILED
