"""One trace a job, of real servers and programs, as a collector gets it."""

import http.client
import json
import re
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.config import SettingsError, load
from tests.support.polling import eventually
from tests.support.program import assert_refused, kusciajob, shell_image
from tests.support.requests import create, ended, in_state, job_request, task_request
from tests.support.server import RunningServer, running_server

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from tests.support.otlp import Collector, Span, running_collector

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TELL = 'cd "$KUSCIAJOB_DOMAIN_DIR"; echo "$TRACEPARENT $OTEL_EXPORTER_OTLP_ENDPOINT" > told-$TASK_ID; '


class Place(Struct, frozen=True):
    server: RunningServer
    collector: Collector

    def told(self, domain: str, job_id: str) -> list[str]:
        """TRACEPARENT and endpoint, as a domain's program has found them."""
        return (self.server.data_dir / "domains" / domain / f"told-{job_id}-t").read_text().split()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    directory = tmp_path_factory.mktemp("traces")
    launcher = ["env", "OTEL_BSP_SCHEDULE_DELAY=50"]
    async with running_collector() as collector:
        images = shell_image(directory)
        async with running_server(
            directory, launcher, app_image_dir=images, otlp_endpoint=collector.endpoint, stop_grace_seconds=5
        ) as server:
            yield Place(server, collector)


def shell(job_id: str, script: str, *domains: str) -> pb.CreateJobRequest:
    """A job of one task, all of whose parties tell what they were given, and run the script."""
    task = task_request("t", "shell", domains or ["alice"], task_input_config=TELL + script, task_id=f"{job_id}-t")
    return job_request(job_id, task)


def traceparent(trace: str = TRACE, *, flags: str = "01") -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{trace}-{SPAN}-{flags}"),)


def attributes(span: Span) -> dict[str, object]:
    return {name.removeprefix("kusciajob."): value for name, value in span.attributes.items()}


async def test_a_job_is_one_trace_below_its_callers_span_and_its_programs_know_their_places(place: Place) -> None:
    # One that fails ends the others: alice waits until bob's program has told.
    fail = "while [ ! -s ../bob/told-called-t ]; do sleep 0.05; done; exit 3"
    script = f'[ "$KUSCIA_DOMAIN_ID" = bob ] || {{ {fail}; }}; exec sleep 600'
    await place.server.stub.CreateJob(shell("called", script, "alice", "bob"), metadata=traceparent())
    (job,) = await place.collector.until("called", "job")
    (task,) = await place.collector.until("called", "task")
    parties = await place.collector.until("called", "party", times=2)
    assert {span.trace for span in (job, task, *parties)} == {TRACE}
    assert (job.parent, task.parent) == (SPAN, job.id)
    assert {party.parent for party in parties} == {task.id}
    assert attributes(job) == {"job": "called", "state": "Failed"}
    assert attributes(task) == {"job": "called", "task": "called-t", "attempt": 1, "state": "Failed"}
    alice = next(span for span in parties if span.name == "party alice")
    number = str(attributes(alice)["party"]).partition("/")[0]
    own = {"job": "called", "task": "called-t", "attempt": 1, "domain": "alice", "party": f"{number}/0.1/0"}
    assert attributes(alice) == {**own, "state": "Failed", "exit_code": 3}
    assert job.is_error
    assert job.began_at <= task.began_at <= task.ended_at <= job.ended_at
    assert job.service == "kusciajob"
    for party in parties:
        told = place.told(party.name.partition(" ")[2], "called")
        assert told == [f"00-{TRACE}-{party.id}-01", place.collector.endpoint]


async def test_no_client_is_told_of_the_trace(place: Place) -> None:
    await place.server.stub.CreateJob(shell("private", "exit 0"), metadata=traceparent())
    await ended(place.server.stub, "private")
    answer = await place.server.stub.QueryJob(pb.QueryJobRequest(job_id="private"))
    assert TRACE not in str(answer)


async def test_without_a_callers_span_a_job_is_a_trace_of_its_own(place: Place) -> None:
    for job_id in ("own-1", "own-2"):
        await create(place.server.stub, shell(job_id, "exit 0"))
    jobs = [(await place.collector.until(job_id, "job"))[0] for job_id in ("own-1", "own-2")]
    assert [job.parent for job in jobs] == ["", ""]
    assert len({job.trace for job in jobs}) == 2
    (task,) = place.collector.of("own-1", "task")
    assert (task.trace, task.parent) == (jobs[0].trace, jobs[0].id)


@pytest.mark.parametrize("nonsense", ["", "00-xyz", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", "0" * 4000])
async def test_a_callers_span_that_cannot_be_read_is_left_out(place: Place, nonsense: str) -> None:
    job_id = f"nonsense-{len(nonsense)}"
    await place.server.stub.CreateJob(shell(job_id, "exit 0"), metadata=(("traceparent", nonsense),))
    (job,) = await place.collector.until(job_id, "job")
    assert job.parent == ""
    assert job.trace not in (TRACE, "0" * 32)


async def test_a_caller_who_does_not_record_has_no_spans_recorded_over_http_either(place: Place) -> None:
    task = {"alias": "t", "app_image": "shell", "parties": [{"domain_id": "alice"}], "task_input_config": TELL}
    body = json.dumps({"job_id": "unseen", "initiator": "alice", "tasks": [task | {"task_id": "unseen-t"}]})
    with closing(http.client.HTTPConnection(place.server.http_address, timeout=20)) as connection:
        headers = {"Content-Type": "application/json", **dict(traceparent(flags="00"))}
        connection.request("POST", "/api/v1/job/create", body=body, headers=headers)
        assert connection.getresponse().read()
    await ended(place.server.stub, "unseen")
    given, _ = place.told("alice", "unseen")
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", given)
    await create(place.server.stub, shell("seen", "exit 0"))
    await place.collector.until("seen", "job")
    assert place.collector.of("unseen") == []


async def test_each_run_of_a_restarted_job_has_a_span_in_the_same_trace(place: Place) -> None:
    script = f'[ -e "again-{TRACE}" ] || {{ touch "again-{TRACE}"; exit 1; }}'
    await create(place.server.stub, shell("again", script))
    await ended(place.server.stub, "again")
    await place.server.stub.RestartJob(pb.RestartJobRequest(job_id="again"))
    first, second = await place.collector.until("again", "job", times=2)
    tasks = place.collector.of("again", "task")
    assert [attributes(span)["state"] for span in (first, second)] == ["Failed", "Succeeded"]
    assert first.trace == second.trace
    assert first.ended_at <= second.began_at
    assert [(attributes(task)["attempt"], task.parent) for task in tasks] == [(1, first.id), (2, second.id)]


async def test_what_runs_when_its_job_is_deleted_ends_with_that(place: Place) -> None:
    await create(place.server.stub, shell("deleted", "exec sleep 600"))
    await in_state(place.server.stub, "deleted", "Running")
    await place.server.stub.DeleteJob(pb.DeleteJobRequest(job_id="deleted"))
    await place.collector.until("deleted", "job")
    assert {attributes(span)["state"] for span in place.collector.of("deleted")} == {"Deleted"}
    assert [span.kind for span in place.collector.of("deleted")] == ["task", "party", "job"]


async def test_a_killed_server_leaves_no_hole_in_the_trace_of_a_job_that_ran(place: Place) -> None:
    wait = f"while [ ! -e {place.server.data_dir}/go ]; do sleep 0.05; done"
    await place.server.stub.CreateJob(shell("survives", wait), metadata=traceparent())
    await in_state(place.server.stub, "survives", "Running")
    await place.server.kill()
    await place.server.start()
    (place.server.data_dir / "go").touch()
    (job,) = await place.collector.until("survives", "job")
    (task,) = place.collector.of("survives", "task")
    (party,) = place.collector.of("survives", "party")
    assert {span.trace for span in (job, task, party)} == {TRACE}
    assert (job.parent, task.parent, party.parent) == (SPAN, job.id, task.id)
    assert place.told("alice", "survives")[0] == f"00-{TRACE}-{party.id}-01"


async def test_without_the_setting_nothing_of_it_is_imported(tmp_path: Path) -> None:
    async with running_server(tmp_path, ["env", "PYTHONPROFILEIMPORTTIME=1"], runtime="simulated") as server:
        await server.stub.CreateJob(job_request("plain"), metadata=traceparent())
        await ended(server.stub, "plain")
        await server.stub.DeleteJob(pb.DeleteJobRequest(job_id="plain"))
        await eventually(lambda: "job deleted" in server.log.read_text())
        log = server.log.read_text()
    assert "kusciajob.telemetry.story" in log
    assert "opentelemetry" not in log
    assert "kusciajob.telemetry.tracing" not in log


async def test_a_server_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    arguments = ["--data-dir", tmp_path / "data", "--otlp-endpoint", "http://localhost:4318"]
    refused = kusciajob("serve", *arguments, PYTHONPATH=str(tmp_path))
    assert_refused(refused, "otlp_endpoint", "pip install 'kusciajob[otel]'")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("endpoint", ["localhost:4318", "http://user:secret@host", "ftp://host", "http://"])
async def test_an_endpoint_that_cannot_be_one_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"otlp_endpoint .* e\.g\. http://localhost:4318"):
        load({"otlp_endpoint": endpoint}, environment={})
