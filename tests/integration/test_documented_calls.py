"""What docs/jobs.md shows of each call of kusciajob.v1 is what a real server answers.

`UPDATE_DOCUMENTS=1` writes the answers into the document.
"""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from kusciajob._gen.kusciajob.v1 import app_images_pb2, jobs_pb2, server_pb2
from tests.support import console
from tests.support.server import running_server

DOCUMENT = Path(__file__).parents[2] / "docs" / "jobs.md"
CALLS = [
    method.name
    for file in (jobs_pb2, app_images_pb2, server_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


async def test_documented_answers_are_those_of_a_server(tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    told: list[tuple[console.Step, str]] = []
    async with running_server(tmp_path, runtime="simulated") as server:
        for step in console.steps(text):
            if step.command.startswith("grpcurl") and shutil.which("grpcurl") is None:
                continue
            told.append((step, await asyncio.to_thread(console.answer, step.command, server, tmp_path)))
    if os.environ.get("UPDATE_DOCUMENTS"):
        for step, answer in reversed(told):
            text = text[: step.start] + answer + text[step.end :]
        DOCUMENT.write_text(text, encoding="utf-8")
    for step, answer in told:
        assert console.comparable(answer) == console.comparable(step.expected), step.command


@pytest.mark.parametrize("call", CALLS)
def test_each_call_is_shown(call: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"/{call}" in text, "by grpcurl"
    assert f"### {call}" in text
