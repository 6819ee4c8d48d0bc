"""One round of `make soak-servers`: two of three servers killed and one frozen."""

from pathlib import Path

import pytest

from tests.faults.soak_servers import soak

pytestmark = pytest.mark.postgres


@pytest.mark.hostile
async def test_nothing_is_lost_or_run_twice_while_servers_are_killed_and_frozen(tmp_path: Path) -> None:
    done = await soak(tmp_path, seconds=1, seed=1)
    assert "ran once each" in done
