"""A moment of coverage-guided fuzzing of each target, in `make test-hostile`, the same inputs each time.

`make fuzz` takes longer.
"""

from typing import Any

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.common_pb2 import Status
from tests.fuzz import coverage
from tests.fuzz.raw import grpc_edge, http_edge
from tests.fuzz.raw.contract import OF_ITS_OWN

needs_atheris = pytest.mark.skipif(not coverage.is_available(), reason=coverage.MISSING)

SUCCESS = Status()
# http_connection takes the longest to start: only `make fuzz` has it.
INPUTS = {
    "grpc_edge": 250,
    "http_edge": 350,
    "appimages": 200,
    "job_files": 250,
    "settings": 250,
    "templates": 3_000,
}


@pytest.mark.hostile
@needs_atheris
@pytest.mark.parametrize("target", INPUTS)
def test_no_input_is_too_much(target: str) -> None:
    outcome = coverage.fuzz(target, inputs=INPUTS[target], seed=1)
    assert outcome.exit_code == 0, str(outcome)
    assert outcome.inputs == INPUTS[target]


@pytest.mark.hostile
@needs_atheris
def test_a_fault_is_found_by_guidance_and_its_input_named() -> None:
    outcome = coverage.fuzz("raising", inputs=500_000, seed=1)
    assert outcome.exit_code
    assert outcome.failing is not None
    assert outcome.failing.startswith(b"bug!")
    assert "ZeroDivisionError" in outcome.output
    assert str(outcome).endswith(f"again: tests.fuzz.raw.raising.run({outcome.failing!r})")


@pytest.mark.hostile
@needs_atheris
def test_a_hang_is_a_fault() -> None:
    outcome = coverage.fuzz("hanging", inputs=1_000, seed=1, input_seconds=1)
    assert outcome.exit_code
    assert outcome.failing == b"h"


def test_every_method_succeeds_for_one_of_the_seeds() -> None:
    calls = [grpc_edge.call(seed) for seed in grpc_edge.seeds()]
    assert {method.name for method, _, answers in calls if any(map(is_success, answers))} == set(OF_ITS_OWN)
    answers = [http_edge.ask(seed) for seed in http_edge.seeds()]
    for form in http_edge.FORMS:
        of_form = [answer for answer in answers if answer.form == form and answer.status == 200]
        assert {answer.route.name for answer in of_form if any(map(is_success, answer.messages))} == set(OF_ITS_OWN)


def is_success(answer: Any) -> bool:
    """Without a status it is an event."""
    return bool(getattr(answer, "status", SUCCESS).code == 0)
