"""How long the fuzzing runs: a moment in the test suite, the same examples each time; FUZZ_TIMES as long otherwise."""

import os

from hypothesis import HealthCheck, settings

FUZZ_TIMES = int(os.environ.get("FUZZ_TIMES", "1"))


def examples(count: int, **more: int) -> settings:
    """So many examples, times FUZZ_TIMES; with more than one time they are new ones in each run."""
    return settings(
        max_examples=count * FUZZ_TIMES,
        deadline=None,
        database=None,
        derandomize=FUZZ_TIMES == 1,
        suppress_health_check=list(HealthCheck),
        **more,  # type: ignore[arg-type]  # stateful_step_count
    )
