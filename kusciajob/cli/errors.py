"""How a command ends when it cannot do what it was asked."""

import json
import re
from collections.abc import Sequence
from typing import IO, Any

import click

from kusciajob.cli import terminal

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130

# Of arguments with NULs between: -o json, -ojson, -o=json, --output json, --output=json, and -fo json.
_JSON_OUTPUT = re.compile(r"(?:^|\0)(?:-[a-z]?o|--output(?=[=\0]))[=\0]?json(?:\0|$)")


class CommandError(click.ClickException):
    """Ends the program with one line on stderr and the class's exit code."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """Kuscia's code where a server has answered with one."""

    def show(self, file: IO[Any] | None = None) -> None:
        terminal.say_line(f"kusciajob: {self.message}", file=file, err=file is None)


class WronglyCalled(CommandError):
    """The flags or settings make no sense."""

    exit_code = EXIT_USAGE


class ServerDied(CommandError):
    """A part of the server in this process ended unexpectedly."""

    exit_code = EXIT_INTERNAL


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether -o json is among the arguments, also where others of them are wrong."""
    return _JSON_OUTPUT.search("\0".join(arguments)) is not None


def as_json(message: str, code: int) -> str:
    """The error as one JSON object: the text, and Kuscia's code or else the program's exit code."""
    return json.dumps({"code": code, "message": message}, ensure_ascii=False)
