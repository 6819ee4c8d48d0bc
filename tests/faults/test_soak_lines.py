"""One round of `make soak-lines`: packets between servers, PostgreSQL and clients vanish."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.network import own_network
from tests.support.postgres import programs
from tests.support.proxy import program

pytestmark = [pytest.mark.postgres, pytest.mark.hostile]

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_run_twice_while_packets_vanish() -> None:
    """Without root, PostgreSQL or HAProxy it is skipped."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: make test-postgres installs it")
    program()
    soak = await asyncio.create_subprocess_exec(
        *own_network(),
        *(sys.executable, "-m", "tests.faults.soak_lines", "--seconds", "1", "--seed", "1"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await soak.communicate()
    assert soak.returncode == 0, output.decode()
    assert "ran once each" in output.decode()
