"""Schemathesis asks all of kusciajob.v1, as /openapi.json has it, for what it allows and for what it forbids."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from kusciajob.api.routes import V1_ROUTES, Route
from tests.fuzz.budget import examples
from tests.support.callers import CALL_SECONDS
from tests.support.requests import create, job_request, task_request
from tests.support.server import RunningServer, running_server

pytestmark = pytest.mark.hostile

TRUE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
KNOWN = {"job_id": "there", "task_id": "there-task"}
"""What a path names that is there."""
FEW = 4
"""Of a stream that lasts a second each time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    directory = tmp_path_factory.mktemp("openapi")
    async with running_server(directory, runtime="simulated", max_message_mib=1) as server:
        task = task_request("only", task_id=KNOWN["task_id"])
        await create(server.stub, job_request(KNOWN["job_id"], task))
        yield server
        assert "reference" not in server.log.read_text(), server.log.read_text()


@pytest.mark.parametrize("route", V1_ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
def test_what_is_answered_is_what_the_document_says(
    server: RunningServer, route: Route, mode: schemathesis.GenerationMode
) -> None:
    operation = schemathesis.openapi.from_url(f"http://{server.http_address}/openapi.json")[route.path][
        route.http_methods[0]
    ]
    told: Counter[int] = Counter()

    @examples(FEW if route.is_stream else 10)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters if name in KNOWN})
            if route.is_stream and "timeout_seconds" in route.call.input_type.fields_by_name:
                case.query["timeout_seconds"] = 1
            case.query.pop("follow", None)
            # A revision that nobody was told is waited for; then it is a 503.
            case.query.pop("min_revision", None)
        response = case.call(timeout=CALL_SECONDS)
        told[response.status_code] += 1
        case.validate_response(response, checks=TRUE)

    with suppress(Unsatisfiable):  # where nothing is forbidden
        ask()
    assert told or mode is schemathesis.GenerationMode.NEGATIVE
