"""The entry point: finds the command, and turns every error into one line and an exit code."""

import gc
import io
import os
import sys
import traceback
from importlib import import_module
from types import ModuleType
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from kusciajob import __version__
from kusciajob.cli import signals, terminal
from kusciajob.cli.errors import EXIT_FAILED, EXIT_INTERNAL, EXIT_INTERRUPTED, as_json, wants_json

# Each command is the function of its name in that module, imported when it is used: starting up has to be fast.
_COMMANDS = {
    "serve": ("serve", "Run the job server."),
    "run": ("run", "Run one job to its end; brings its own server."),
    "create": ("create", "Create a job from a file."),
    "submit": ("submitting", "Create a job from a file, with retries, time-outs and labels."),
    "validate": ("submitting", "Say all that is wrong with a job, or how it would run."),
    "list": ("listing", "List jobs: by state, party, initiator, AppImage, field, time."),
    "describe": ("details", "Show all of a job, with each attempt of each task."),
    "history": ("details", "Show what happened to a job, who asked for it, and why."),
    "wait": ("waiting", "Return when a job is in a state."),
    "images": ("details", "List the AppImages that tasks can name."),
    "audit": ("overseeing", "Show which calls changed something or were refused."),
    "info": ("overseeing", "Show what the server is, what it limits, what it grants."),
    "get": ("jobs", "Show a job: tasks, parties, endpoints."),
    "status": ("jobs", "Show where jobs stand."),
    "watch": ("watch", "Follow one job, or all of them."),
    "logs": ("logs", "Print what tasks write."),
    "stop": ("jobs", "End a job as Failed."),
    "suspend": ("jobs", "Stop a running job's tasks until it is restarted."),
    "restart": ("jobs", "Run again what did not succeed."),
    "cancel": ("jobs", "End a job for good, as Cancelled."),
    "approve": ("jobs", "Accept or reject a job that awaits approval."),
    "delete": ("jobs", "Stop a job and remove its record."),
    "open": ("page", "Open the page that shows jobs."),
    "init": ("init", "Make certificates and tokens for a server and its clients."),
    "health": ("health", "Ask a server whether it serves."),
    "doctor": ("doctor", "Check a data directory, or what servers share."),
    "migrate": ("migrate", "Bring the database that servers share to its schema."),
    "settings": ("settings", "Print the server's settings, or those in force."),
    "completion": ("completion", "Print what makes a shell complete commands."),
}

_FUNCTIONS = {"list": "list_jobs", "open": "open_page"}
"""Where it has another name than its command."""


class _LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = _imported(f"kusciajob.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, _FUNCTIONS.get(cmd_name, cmd_name))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


def _imported(name: str) -> ModuleType:
    """The module. What it and those it imports consist of stays: no search for garbage looks at it, even at the end."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def _hyphened(name: str) -> str:
    """Options may be written as their settings are named elsewhere: --grpc_port is --grpc-port."""
    return name.replace("_", "-")


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _hyphened}
)
@click.version_option(__version__, message="kusciajob %(version)s")
def cli() -> None:
    """Run multi-party jobs, and talk to a server that does.

    The server speaks the job API of SecretFlow Kuscia. `kusciajob COMMAND --help` tells more about a command.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    is_host = len(sys.argv) > 1 and sys.argv[1] in signals.HOSTS
    if is_host:
        signals.keep()
    # Read when a command imports grpc: its C core would add lines of its own to our errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    exit_code = _run()
    if is_host:
        signals.ignore()
    sys.exit(exit_code)


def _run() -> int:
    is_json = wants_json(sys.argv[1:])
    try:
        exit_code: int | None = cli.main(prog_name="kusciajob", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        if is_json:
            code = getattr(error, "code", None) or error.exit_code
            terminal.say_json(as_json(error.format_message(), code), err=True)
            return error.exit_code
        shown = io.StringIO()  # it may quote whatever was typed
        error.show(shown)
        terminal.say(shown.getvalue().rstrip("\n"), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        if os.environ.get("KUSCIAJOB_LOG_LEVEL") == "debug":
            terminal.say(traceback.format_exc(), err=True)
        text = f"unexpected error: {type(error).__name__}: {error} (KUSCIAJOB_LOG_LEVEL=debug shows where)"
        if is_json:
            terminal.say_json(as_json(text, EXIT_INTERNAL), err=True)
        else:
            terminal.say_line(f"kusciajob: {text}", err=True)
        return EXIT_INTERNAL
    return exit_code or 0
