"""How a command ends when it cannot do what it was asked."""

from typing import IO, Any

import click

from kusciajob.cli import terminal

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130


class CommandError(click.ClickException):
    """Ends the program with one line on stderr and the class's exit code."""

    exit_code = EXIT_FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        terminal.say_line(f"kusciajob: {self.message}", file=file, err=file is None)


class WronglyCalled(CommandError):
    """The flags or settings make no sense."""

    exit_code = EXIT_USAGE


class ServerDied(CommandError):
    """A part of the server in this process ended unexpectedly."""

    exit_code = EXIT_INTERNAL
