"""Schemathesis asks all of kusciajob.v1, as /openapi.json has it, for what it allows and for what it forbids."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.api.routes import V1_ROUTES, Route
from tests.fuzz.edge import Edge
from tests.support.callers import API, CALL_SECONDS
from tests.support.requests import job_request, task_request

TRUE = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
KNOWN = {"job_id": "there", "task_id": "there-task"}
"""What a path names that is there."""
FEW = 4
"""Of a stream that lasts a second each time."""


class Place:
    """A server whose event loop runs on a thread: Schemathesis waits for answers."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=edge.run, args=[self._stopping.wait()], kwargs={"timeout_seconds": None})
        self.url = f"http://127.0.0.1:{edge.server.http_port}"
        self._thread.start()

    def stop(self) -> None:
        self._edge.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(CALL_SECONDS)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Edge(tmp_path_factory.mktemp("openapi"), max_message_mib=1) as edge:
        task = task_request("only", task_id=KNOWN["task_id"])
        created = edge.call(f"/{API}.JobService/CreateJob", job_request(KNOWN["job_id"], task), pb.CreateJobResponse)
        assert created.status.code == 0
        yield edge


@pytest.fixture
def place(edge: Edge) -> Iterator[Place]:
    place = Place(edge)
    try:
        yield place
    finally:
        place.stop()
        edge.check()


@pytest.mark.parametrize("route", V1_ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
def test_what_is_answered_is_what_the_document_says(
    place: Place, route: Route, mode: schemathesis.GenerationMode
) -> None:
    operation = schemathesis.openapi.from_url(f"{place.url}/openapi.json")[route.path][route.http_methods[0]]
    told: Counter[int] = Counter()

    @settings(
        max_examples=FEW if route.is_stream else 20,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters if name in KNOWN})
            if route.is_stream and "timeout_seconds" in route.call.input_type.fields_by_name:
                case.query["timeout_seconds"] = 1
            case.query.pop("follow", None)
        response = case.call(timeout=CALL_SECONDS)
        told[response.status_code] += 1
        case.validate_response(response, checks=TRUE)
        assert mode is schemathesis.GenerationMode.POSITIVE or response.status_code >= 400

    with suppress(Unsatisfiable):  # where nothing is forbidden
        ask()
    assert told or mode is schemathesis.GenerationMode.NEGATIVE
