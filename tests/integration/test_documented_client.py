"""The Python of the documents runs as it is written, against a server that is where the documents say."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.polling import PATIENCE_SECONDS
from tests.support.server import RunningServer, clean_environment

TOP = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/client.md")
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_the_programs_of_a_document_run(server: RunningServer, document: str) -> None:
    programs = _PYTHON.findall((TOP / document).read_text())
    assert programs
    for program in programs:
        assert "localhost:8083" in program
        text = program.replace("localhost:8083", server.address)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", text),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            cwd=TOP,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, errors = await process.communicate()
        assert (process.returncode, errors.decode()) == (0, "")
    assert "Succeeded" in output.decode() or document != "README.md"


def test_no_document_and_no_example_imports_a_private_name() -> None:
    places = [*TOP.glob("README*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.py")]
    found = [str(place) for place in places if re.search(r"import\s.*\b_gen\b|from\s+\S*\b_gen\b", place.read_text())]
    assert found == []
