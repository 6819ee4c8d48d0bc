"""`kusciajob open`: where the page is, in a browser."""

import asyncio
import json
import os
import re
import webbrowser
from collections.abc import Mapping
from urllib.parse import quote

import click

from kusciajob._gen.kusciajob.v1 import jobs_pb2, server_pb2
from kusciajob.api.http.page import PAGE_PATH
from kusciajob.cli import options, terminal
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected

_HOST = re.compile(r"(?:dns:(?://[^/]*/)?|ipv[46]:)?(\[[^\]]+\]|[^:/]+)(?::\d+)?")
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""Without any of them there are browsers for terminals only, which cannot show the page."""


@click.command("open")
@click.argument("job_id", metavar="[JOB]", default="")
@click.option("--print", "is_only_printed", is_flag=True, help="Print the address, and open no browser.")
@options.server
@options.text_output
def open_page(job_id: str, is_only_printed: bool, server: options.Target, output: str) -> None:
    """Print the address of the page, or of a JOB on it, and open it in this machine's browser if it has one.

    The server tells the port. Behind a proxy or in a container its address can be another one for browsers.
    """
    address = asyncio.run(_ask(server, job_id))
    if output == "json":
        terminal.say_json(json.dumps({"page": address}))
    else:
        terminal.say(address)
    if not is_only_printed and has_screen(os.environ):
        webbrowser.open(address)


async def _ask(server: options.Target, job_id: str) -> str:
    host = _HOST.fullmatch(server.address)
    if host is None:
        raise CommandError(f"a browser needs a host: name the server as HOST:PORT, not as {server.address}")
    async with connected(server) as calling:
        info = await calling.ask(calling.stubs.server.GetServerInfo, server_pb2.GetServerInfoRequest())
        if job_id:
            await calling.ask(calling.stubs.v1.GetJob, jobs_pb2.GetJobRequest(job_id=job_id))
    if not info.http_port:
        raise CommandError(
            f"the server at {server.address} serves no page: it has --http-port -1, or is of an earlier version"
        )
    scheme = "http" if server.cert_dir is None else "https"
    return page_address(f"{scheme}://{host[1]}:{info.http_port}", job_id)


def page_address(http: str, job_id: str = "") -> str:
    """Of the page of the server at that address, or of a job on it."""
    return f"{http}{PAGE_PATH}{f'?job={quote(job_id)}' if job_id else ''}"


def has_screen(environment: Mapping[str, str]) -> bool:
    """Whether a browser that is opened here can be looked at."""
    return any(environment.get(name) for name in _SCREENS)
