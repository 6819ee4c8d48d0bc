"""A few rounds of the soak; `make soak` does more."""

from pathlib import Path

import pytest

from tests.faults.soak import soak

ROUNDS = 10
SUSPENDED_SECONDS = 1.0


@pytest.mark.hostile
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(tmp_path: Path) -> None:
    done = await soak(tmp_path, rounds=ROUNDS, seed=4, suspend_seconds=SUSPENDED_SECONDS)
    assert done.startswith(f"{ROUNDS} rounds")
