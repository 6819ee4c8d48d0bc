"""A script of the simulated runtime has few steps, whatever its author writes."""

import tracemalloc

import pytest

from kusciajob.contracts import StartFailed
from kusciajob.runtime.scripts import MAX_STEPS, read_script

MIB = 1 << 20


def test_a_script_with_the_most_steps_is_read() -> None:
    steps = ",".join(["0.5"] * MAX_STEPS)
    assert len(read_script(f'{{"seconds": 9, "progress": [{steps}]}}').progress) == MAX_STEPS


@pytest.mark.parametrize("steps", [MAX_STEPS + 1, 1_000_000])
def test_a_script_with_more_steps_is_refused_and_costs_nothing(steps: int) -> None:
    config = '{"seconds": 9, "progress": [' + ",".join(["0"] * steps) + "]}"
    tracemalloc.start()
    try:
        with pytest.raises(StartFailed, match=r"progress has .*, at most .* are allowed"):
            read_script(config)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(config) + 4 * MIB


def test_a_script_for_more_parties_than_a_task_can_have_is_refused() -> None:
    parties = ",".join(f'"d{number}":{{}}' for number in range(129))
    with pytest.raises(StartFailed, match="parties has 129 values, at most 128 are allowed"):
        read_script(f'{{"parties": {{{parties}}}}}')


def test_a_large_config_that_is_no_script_scripts_nothing() -> None:
    config = '{"inputs": [' + ",".join(["{}"] * 1_000_000) + "]}"
    assert read_script(config).seconds == 0
