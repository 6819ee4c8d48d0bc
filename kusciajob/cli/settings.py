"""`kusciajob settings`: the configuration table of the README."""

import click

from kusciajob import config
from kusciajob.cli import terminal
from kusciajob.cli.options import default_text


@click.command()
def settings() -> None:
    """Print the server's settings as a Markdown table.

    A flag goes before the environment variable, that before the configuration file, that before the default.
    In the file a setting has its flag's name without the dashes in front, and with _ for -.
    """
    terminal.say("| flag | environment variable | default | meaning |\n|---|---|---|---|")
    for setting in config.describe():
        default = default_text(setting)
        meaning = setting.description.replace("<", "\\<")  # else Markdown takes <name> for HTML
        if setting.choices:
            meaning += f" (one of: {', '.join(setting.choices)})"
        terminal.say(f"| `{setting.flag}` | `{setting.variable}` | {f'`{default}`' if default else ''} | {meaning} |")
