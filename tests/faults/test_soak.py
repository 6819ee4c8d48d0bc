"""A few rounds of the soak in the suite, more in `make test-hostile`; `make soak` does more still."""

from pathlib import Path

import pytest

from tests.faults.soak import soak

SUSPENDED_SECONDS = 1.0


@pytest.mark.parametrize("rounds", [3, pytest.param(10, marks=pytest.mark.hostile)])
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(tmp_path: Path, rounds: int) -> None:
    done = await soak(tmp_path, rounds=rounds, seed=4, suspend_seconds=SUSPENDED_SECONDS)
    assert done.startswith(f"{rounds} rounds")
