"""Commands in a document and what they answer, run against a real server.

A block is fenced as `console`; in it, each line that begins with `$ ` is a command (a backslash at its end continues
it, and a here-document belongs to it), and what follows up to the next one is what it prints.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tests.support.polling import PATIENCE_SECONDS
from tests.support.server import RunningServer, clean_environment

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'(\w+)'\n$")
_VARYING: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<clock>"),
    (re.compile(r"-[0-9a-f]{12}\b"), "-<suffix>"),
    (re.compile(r"ipv4:127\.0\.0\.1:\d+|127\.0\.0\.1(?::\d+)?"), "<peer>"),
    (re.compile(r"\b\d+(?:\.\d+)?s\b"), "<span>"),
    (re.compile(r"\bid(\W+)\d+"), r"id\1<number>"),
    (re.compile(r"  +"), "  "),
)
"""What differs from run to run."""


class Step(Struct, frozen=True):
    """A command, what it should print, and where that stands in the document."""

    command: str
    expected: str
    start: int
    end: int


def steps(document: str) -> Iterator[Step]:
    """The commands of all blocks, in order."""
    for block in _BLOCK.finditer(document):
        at = block.start(1)
        lines = block[1].splitlines(keepends=True)
        index = 0
        while index < len(lines):
            command = lines[index].removeprefix("$ ")
            at += len(lines[index])
            index += 1
            here = _HERE.search(command)
            while command.endswith("\\\n") or (here and not command.endswith(f"\n{here[1]}\n")):
                command += lines[index]
                at += len(lines[index])
                index += 1
            start = at
            while index < len(lines) and not lines[index].startswith("$ "):
                at += len(lines[index])
                index += 1
            yield Step(command, document[start:at], start, at)


def answer(command: str, server: RunningServer, directory: Path) -> str:
    """What the command prints, to stdout and stderr, in a directory and against a server of its own."""
    environment = clean_environment() | {
        "KUSCIAJOB_SERVER": server.address,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TZ": "UTC",
    }
    command = command.replace("localhost:8082", server.http_address).replace("localhost:8083", server.address)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    told = done.stdout.replace(server.http_address, "localhost:8082").replace(server.address, "localhost:8083")
    return told if not told or told.endswith("\n") else f"{told}\n"


def comparable(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text.strip()
