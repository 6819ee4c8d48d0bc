"""`kusciajob completion`: scripts that make a shell complete commands, options and choices."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from kusciajob.cli import terminal

PROGRAM = "kusciajob"
VARIABLE = "_KUSCIAJOB_COMPLETE"
"""Where it is set, the program answers the script instead of running a command."""

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete kusciajob's commands, options, choices and files.

    \b
    bash (4.4 or newer), in ~/.bashrc:  eval "$(kusciajob completion bash)"
    zsh, in ~/.zshrc, after compinit:   eval "$(kusciajob completion zsh)"
    fish, in config.fish:               kusciajob completion fish | source
    """
    root = click.get_current_context().find_root().command
    # The method of the base class: bash's own would start a bash first, to look at its version.
    terminal.say(ShellComplete.source(_SHELLS[shell](root, {}, PROGRAM, VARIABLE)))
