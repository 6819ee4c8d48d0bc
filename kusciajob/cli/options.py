"""Command line options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import click

from kusciajob.client.settings import ClientSettings

Target: TypeAlias = ClientSettings
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _output(form: str, text: str) -> Callable[[_Function], _Function]:
    kinds = click.Choice([form, "json"])
    return click.option("-o", "--output", type=kinds, default=form, show_default=True, help=text)


output = _output("table", "table for people, json (Kuscia's messages) for programs.")
table_output = _output("table", "table for people, json for programs: one object.")
text_output = _output("text", "text for people, json for programs: one object.")
line_output = _output("text", "text for people, json for programs: an object for each line.")

limit = click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="At most so many; 0 means all.",
)
reason = click.option("--reason", metavar="TEXT", default="", help="Kept with the job for others to read.")


def wait(text: str) -> Callable[[_Function], _Function]:
    """--wait with that help; the command gets it as `waits`."""
    return click.option("--wait", "waits", is_flag=True, help=text)


def server(function: _Function) -> _Function:
    """--server and what TLS needs; the command gets them as one argument `server`, a Target."""

    @click.option(
        "--server",
        "address",
        metavar="HOST:PORT",
        envvar="KUSCIAJOB_SERVER",
        default="127.0.0.1:8083",
        show_default=True,
        show_envvar=True,
        help="The job server's gRPC address.",
    )
    @click.option(
        "--cert-dir",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        envvar="KUSCIAJOB_CERT_DIR",
        show_envvar=True,
        help="Use TLS with the certificates and the token that `kusciajob init` wrote there.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="With --cert-dir: call with this token instead, e.g. a domain's.",
    )
    @wraps(function)
    def with_target(*, address: str, cert_dir: Path | None, token_file: Path | None, **arguments: Any) -> Any:
        return function(server=Target(address, cert_dir, token_file), **arguments)

    return cast(_Function, with_target)


def shared_store(*, is_required: bool) -> Callable[[_Function], _Function]:
    """--store and --store-password-file."""

    def decorate(function: _Function) -> _Function:
        file = click.Path(exists=True, dir_okay=False, path_type=Path)
        function = click.option(
            "--store-password-file",
            metavar="FILE",
            type=file,
            envvar="KUSCIAJOB_STORE_PASSWORD_FILE",
            show_envvar=True,
            help="File that holds the password for it, no more.",
        )(function)
        return click.option(
            "--store",
            metavar="URL",
            envvar="KUSCIAJOB_STORE",
            show_envvar=True,
            required=is_required,
            default=None if is_required else "",
            help="The PostgreSQL that servers share: postgresql://USER@HOST/DATABASE.",
        )(function)

    return decorate
