"""`kusciajob migrate`: brings the database that servers share to the schema of this version."""

import asyncio
from pathlib import Path
from types import ModuleType

import click

from kusciajob import config
from kusciajob.cli import options, terminal
from kusciajob.cli.errors import CommandError
from kusciajob.model.errors import StoreFailed


def shared_store() -> ModuleType:
    """What works on a shared store; the driver is imported only where it is used. Raises CommandError."""
    try:
        from kusciajob.operations import shared_store as found  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise CommandError(
            f"what speaks to PostgreSQL is not installed ({error}): pip install 'kusciajob[postgres]'"
        ) from None
    return found


@click.command()
@options.shared_store(is_required=True)
@click.option(
    "--forget-home",
    is_flag=True,
    help="The machine is gone for good on which programs ran (runtimes process and container): servers elsewhere may "
    "schedule.",
)
def migrate(store: str, store_password_file: Path | None, forget_home: bool) -> int:
    """Bring the database that servers share to the schema of this version; one that has it stays as it is.

    Servers of the version before can go on meanwhile, unless this says that they cannot.
    """
    tools = shared_store()
    try:
        url = config.load({"store": store}, environment={}).store
        before, after = asyncio.run(tools.migrate(url, store_password_file))
        if forget_home and not asyncio.run(tools.give_up_home(url, store_password_file)):
            raise CommandError("a server schedules now: stop it first, or its programs could run twice")
    except (config.SettingsError, StoreFailed) as error:
        raise CommandError(str(error)) from None
    terminal.say(f"schema {after}: " + ("nothing to do" if before == after else f"it had schema {before}"))
    return 0
