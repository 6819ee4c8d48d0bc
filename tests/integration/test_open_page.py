"""The page is a command away: `kusciajob open`, and what `make demo` does once its job has ended."""

import asyncio
import http.client
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.polling import PATIENCE_SECONDS, eventually_sync
from tests.support.program import assert_refused, job_file, kusciajob
from tests.support.requests import create, job_request
from tests.support.secured import secured_server
from tests.support.server import RunningServer, clean_environment, running_server

ROOT = Path(__file__).parents[2]
SHOW = ROOT / "scripts" / "show_job.sh"
TYPED = {"Enter": b"\n", "Ctrl-C": b"\x03", "end of input": b"\x04"}


@pytest.fixture
def browser(tmp_path: Path) -> tuple[str, Path]:
    """What BROWSER says for a program that notes the address it is given, and where it notes that."""
    noted = tmp_path / "opened"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" >>{noted}\n')
    program.chmod(0o755)
    return f"{program} %s", noted


async def test_open_prints_the_address_of_the_page_and_opens_it(
    server: RunningServer, browser: tuple[str, Path]
) -> None:
    program, noted = browser
    await create(server.stub, job_request("first"))
    for arguments, query in ((), ""), (("first",), "?job=first"):
        opened = await asyncio.to_thread(kusciajob, "open", *arguments, server=server, BROWSER=program)
        assert opened.stdout == f"http://{server.http_address}/ui/{query}\n", opened.stderr
        assert noted.read_text() == opened.stdout
        noted.unlink()
    printed = await asyncio.to_thread(kusciajob, "open", "--print", "-o", "json", server=server, BROWSER=program)
    assert printed.stdout == f'{{"page": "http://{server.http_address}/ui/"}}\n'
    assert not noted.exists()
    refused = await asyncio.to_thread(kusciajob, "open", "nothing", server=server, BROWSER=program)
    assert_refused(refused, 'job "nothing" not found')
    assert not noted.exists()


async def test_with_tls_the_address_is_of_https(tmp_path: Path) -> None:
    async with secured_server(tmp_path, protocol="tls") as place:
        target = ("--server", place.server.address, "--cert-dir", place.certs)
        opened = await asyncio.to_thread(kusciajob, "open", "--print", *target)
        assert opened.stdout == f"https://{place.http_address}/ui/\n", opened.stderr


async def test_a_server_without_http_has_no_page_to_open(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated", http_port=-1) as server:
        assert_refused(await asyncio.to_thread(kusciajob, "open", server=server), "serves no page", "--http-port -1")


async def test_the_first_lines_of_serve_have_the_address(server: RunningServer) -> None:
    assert f"http://{server.http_address}/ui/" in await server.logged("is up")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where a job has ended."""
    ran = kusciajob("run", job_file(tmp_path, "done"), "--runtime", "simulated", "--data-dir", tmp_path / "data")
    assert ran.returncode == 0, ran.stderr
    return tmp_path / "data"


def show(data_dir: Path) -> list[str]:
    return [str(SHOW), "done", str(data_dir), "--runtime", "simulated"]


def environment() -> dict[str, str]:
    return clean_environment() | {"VENV": str(Path(sys.executable).parents[1])}


@contextmanager
def on_terminal(command: list[str]) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """It runs in the foreground of a terminal of its own, whose other end is the descriptor."""
    ours, theirs = pty.openpty()
    # setsid makes it the controlling terminal: Ctrl-C there is a signal for whoever is in the foreground.
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def ask(address: str) -> int:
    """The status of the answer to a browser that is given the page's address."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/ui/?job=done")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("key", TYPED)
def test_the_demo_keeps_its_page_until_one_has_looked(data_dir: Path, key: str) -> None:
    with on_terminal(show(data_dir)) as (process, terminal):
        told = ""

        def find_address() -> re.Match[str] | None:
            nonlocal told
            told += os.read(terminal, 4096).decode()
            return re.search(r"http://(127\.0\.0\.1:\d+)/ui/\?job=done\r\n.*Enter", told)

        found = eventually_sync(find_address)
        assert found is not None
        assert ask(found[1]) == 200
        os.write(terminal, TYPED[key])
        assert process.wait(PATIENCE_SECONDS) == 0
        with pytest.raises(OSError, match="refused"):
            ask(found[1])


def test_without_a_terminal_the_demo_tells_how_to_look_and_ends(data_dir: Path) -> None:
    shown = subprocess.run(
        show(data_dir),
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert "/ui/?job=done" in shown.stdout
    assert f"serve --data-dir {data_dir}" in shown.stdout
    assert shown.stderr == ""
