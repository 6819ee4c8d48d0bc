"""`kusciajob health`: whether a server can do its work, for probes that have no other way to bring a certificate."""

import asyncio
import json

import click

from kusciajob.api import kuscia
from kusciajob.cli import options, terminal
from kusciajob.cli.errors import EXIT_FAILED
from kusciajob.cli.remote import connected


@click.command()
@click.option("--live", "is_life_enough", is_flag=True, help="Succeed if it answers at all, whatever it says.")
@options.server
@options.text_output
def health(is_life_enough: bool, server: options.Target, output: str) -> int:
    """Ask a server for its health. The exit code is 0 only if it serves.

    A server that answers and does not serve cannot commit, or reach what runs its programs; it goes on trying.
    """
    is_serving = asyncio.run(_ask(server))
    if output == "json":
        terminal.say_json(json.dumps({"serving": is_serving}))
    else:
        terminal.say("SERVING" if is_serving else "NOT_SERVING")
    return 0 if is_serving or is_life_enough else EXIT_FAILED


async def _ask(server: options.Target) -> bool:
    async with connected(server) as calling:
        return bool((await calling.ask(calling.stubs.health.healthZ, kuscia.HealthRequest())).data.ready)
