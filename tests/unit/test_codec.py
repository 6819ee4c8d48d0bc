"""Between protobuf and the model: every field there and back, states, times and places of errors."""

import contextlib
import time
from typing import Any

import pytest
from google.protobuf.message import Message
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model import transitions
from kusciajob.model.status import (
    Approval,
    Ended,
    Endpoint,
    EventType,
    Job,
    JobEvent,
    JobState,
    JobStatus,
    PartyStatus,
    Stage,
    StageKind,
    Started,
    TaskState,
    TaskStatus,
    Unstarted,
)
from kusciajob.wire import codec, job_status
from kusciajob.wire.json import from_json
from tests.support.builders import NOW, new_job
from tests.support.steps import job_in

DEFAULT_SCHEDULE = pb.ScheduleConfig(
    task_timeout_seconds=300, resource_reserved_seconds=30, resource_reallocation_interval_seconds=30
)
SECOND = 1_744_800_175  # 2025-04-16T10:42:55Z


def full_request() -> pb.CreateJobRequest:
    """A request in which every field of CreateJob has a value of its own, optional messages once empty."""
    return pb.CreateJobRequest(
        job_id="job-1",
        initiator="alice",
        max_parallelism=7,
        custom_fields={"owner": "me", "": ""},
        tasks=[
            pb.Task(
                app_image="reader",
                alias="read",
                task_id="read-1",
                parties=[pb.Party(domain_id="alice", resources=pb.JobResource())],
                schedule_config=pb.ScheduleConfig(),
            ),
            pb.Task(
                app_image="psi-image",
                alias="PSI",
                task_id="psi-1",
                dependencies=["read"],
                task_input_config='{"a": 1}\n',
                priority=-100,
                schedule_config=pb.ScheduleConfig(
                    task_timeout_seconds=1, resource_reserved_seconds=2, resource_reallocation_interval_seconds=3
                ),
                tolerable=True,
                parties=[
                    pb.Party(domain_id="carol"),
                    pb.Party(
                        domain_id="bob",
                        role="server",
                        resources=pb.JobResource(cpu="500m", memory="4Gi", bandwidth="10M"),
                        bandwidth_limits=[
                            pb.BandwidthLimit(destination_id="alice", limit_kbps=2**64 - 1),
                            pb.BandwidthLimit(destination_id="carol", limit_kbps=1),
                        ],
                    ),
                ],
            ),
        ],
    )


def unset_fields(message: Message) -> list[str]:
    """The fields of a message that have no value, those of the last of its own messages included."""
    unset = []
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            unset += [] if value else [field.name]
        elif field.is_repeated:
            unset += [f"{field.name}.{name}" for name in unset_fields(value[-1])] if value else [field.name]
        else:
            unset += unset_fields(value) if message.HasField(field.name) else [field.name]
    return unset


def answer(job: Job) -> pb.QueryJobResponseData:
    data = pb.QueryJobResponseData()
    codec.fill_job(data, job)
    return data


def test_every_field_of_a_request_comes_back_in_query() -> None:
    request = full_request()
    data = answer(new_job(codec.decode_spec(request)))
    assert unset_fields(request) == ["header"]
    assert (data.job_id, data.initiator, data.max_parallelism) == ("job-1", "alice", 7)
    assert dict(data.custom_fields) == {"owner": "me", "": ""}
    for asked, told in zip(request.tasks, data.tasks, strict=True):
        # TaskConfig is Task without `tolerable`, field by field under the same numbers.
        expected = pb.Task.FromString(told.SerializeToString())
        expected.tolerable = asked.tolerable
        if not asked.schedule_config.ByteSize():  # the values in force are told
            asked.schedule_config.CopyFrom(DEFAULT_SCHEDULE)
        assert expected == asked


def test_what_was_left_out_stays_out() -> None:
    request = pb.CreateJobRequest(
        job_id="job-1",
        initiator="alice",
        tasks=[pb.Task(alias="a", app_image="i", parties=[pb.Party(domain_id="bob")])],
    )
    spec = codec.decode_spec(request)
    assert (spec.max_parallelism, spec.tasks[0].schedule_config, spec.tasks[0].parties[0].resources) == (1, None, None)
    told = answer(new_job(spec)).tasks[0]
    assert not told.HasField("schedule_config")
    assert not told.parties[0].HasField("resources")


def test_tolerable_reaches_the_model() -> None:
    assert [task.tolerable for task in codec.decode_spec(full_request()).tasks] == [False, True]


def test_a_generated_task_id_is_shown() -> None:
    request = full_request()
    request.tasks[0].task_id = ""
    assert [task.task_id for task in answer(new_job(codec.decode_spec(request))).tasks] == ["job-1-read", "psi-1"]


@pytest.mark.parametrize("priority", ['"100"', "100", '"-2147483648"'])
def test_json_may_carry_a_priority_as_text(priority: str) -> None:
    text = f'{{"job_id": "j", "initiator": "a", "tasks": [{{"alias": "t", "appImage": "i", "priority": {priority}, '
    text += '"parties": [{"domainId": "a"}]}]}'
    request = from_json(text.encode(), pb.CreateJobRequest)
    assert codec.decode_spec(request).tasks[0].priority == int(priority.strip('"'))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (SECOND, "2025-04-16T10:42:55Z"),
        (SECOND + 0.999, "2025-04-16T10:42:55Z"),
        (0.0, "1970-01-01T00:00:00Z"),
        (1_709_164_800, "2024-02-29T00:00:00Z"),
    ],
)
def test_times_are_whole_seconds_in_utc(seconds: float | None, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert job_status.format_time(seconds) == text
    finally:
        monkeypatch.undo()
        time.tzset()


def full_status() -> JobStatus:
    """A status in which every field has a value of its own."""
    endpoint = Endpoint("http", "Cluster", "HTTP", "127.0.0.1:80")
    task = TaskStatus(
        task_id="psi-1",
        alias="PSI",
        phase=Ended(TaskState.FAILED, SECOND + 2, SECOND + 3),
        parties=(PartyStatus("bob"), PartyStatus("alice", "client", TaskState.FAILED, "exit code 1", (endpoint,))),
        created_at=SECOND + 1,
        message="task text",
        attempt=3,
        progress=0.5,
    )
    return JobStatus(
        phase=Ended(JobState.FAILED, SECOND + 4, SECOND + 5),
        created_at=SECOND,
        tasks=(task,),
        stage=Stage(StageKind.STOP, "bob", "why"),
        message="job text",
        awaited=("bob", "carol"),
        approvals=(Approval("bob", accepted=True), Approval("carol", accepted=False)),
    )


def test_every_field_of_a_status_is_told() -> None:
    detail = pb.JobStatusDetail.FromString(job_status.encode_status(full_status()))
    expected = pb.JobStatusDetail(
        state="Failed",
        err_msg="job text",
        create_time="2025-04-16T10:42:55Z",
        start_time="2025-04-16T10:42:59Z",
        end_time="2025-04-16T10:43:00Z",
        tasks=[
            pb.TaskStatus(
                task_id="psi-1",
                alias="PSI",
                state="Failed",
                err_msg="task text",
                create_time="2025-04-16T10:42:56Z",
                start_time="2025-04-16T10:42:57Z",
                end_time="2025-04-16T10:42:58Z",
                progress=0.5,
                parties=[
                    pb.PartyStatus(domain_id="bob", state="Pending"),
                    pb.PartyStatus(
                        domain_id="alice",
                        state="Failed",
                        err_msg="exit code 1",
                        endpoints=[pb.JobPartyEndpoint(port_name="http", scope="Cluster", endpoint="127.0.0.1:80")],
                    ),
                ],
            )
        ],
        stage_status_list=[
            pb.PartyStageStatus(domain_id="bob", state="JobStopStageSucceeded"),
            pb.PartyStageStatus(domain_id="alice", state="JobStopStageSucceeded"),
        ],
        approve_status_list=[
            pb.PartyApproveStatus(domain_id="bob", state="JobAccepted"),
            pb.PartyApproveStatus(domain_id="carol", state="JobRejected"),
        ],
    )
    assert detail == expected
    assert unset_fields(expected) == []


def told_answers(status: JobStatus) -> list[tuple[str, str]]:
    detail = pb.JobStatusDetail.FromString(job_status.encode_status(status))
    return [(answer.domain_id, answer.state) for answer in detail.approve_status_list]


def test_in_a_job_that_needs_no_approval_every_party_has_accepted() -> None:
    told = told_answers(replace(full_status(), awaited=(), approvals=()))
    assert told == [("bob", "JobAccepted"), ("alice", "JobAccepted")]


def test_answers_are_told_in_order_of_the_parties_and_only_those_given() -> None:
    given = (Approval("carol", accepted=True), Approval("alice", accepted=False), Approval("bob", accepted=True))
    told = told_answers(replace(full_status(), awaited=("alice", "bob"), approvals=given))
    assert told == [("bob", "JobAccepted"), ("alice", "JobRejected"), ("carol", "JobAccepted")]
    assert told_answers(replace(full_status(), awaited=("alice",), approvals=())) == []


@pytest.mark.parametrize("kind", list(StageKind))
def test_every_stage_is_told_for_every_domain(kind: StageKind) -> None:
    detail = pb.JobStatusDetail.FromString(job_status.encode_status(replace(full_status(), stage=Stage(kind))))
    names = {
        StageKind.CREATE: "JobCreateStageSucceeded",
        StageKind.START: "JobStartStageSucceeded",
        StageKind.STOP: "JobStopStageSucceeded",
        StageKind.SUSPEND: "JobSuspendStageSucceeded",
        StageKind.RESTART: "JobRestartStageSucceeded",
        StageKind.CANCEL: "JobCancelStageSucceeded",
    }
    assert [(entry.domain_id, entry.state) for entry in detail.stage_status_list] == [
        ("bob", names[kind]),
        ("alice", names[kind]),
    ]


@pytest.mark.parametrize("state", list(JobState))
def test_every_job_state_has_the_name_of_the_interface(state: JobState) -> None:
    detail = pb.JobStatusDetail.FromString(job_status.encode_status(job_in(state).status))
    assert detail.state == state
    assert pb.JobState.State.Name(pb.JobState.State.Value(detail.state)) == state
    assert bool(detail.end_time) == (state in ("Succeeded", "Failed", "Cancelled", "ApprovalReject"))


@pytest.mark.parametrize(("state", "name"), [(state, state.value) for state in TaskState if state != "Starting"])
def test_every_task_state_has_the_name_of_the_interface(state: TaskState, name: str) -> None:
    assert job_status.wire_state(state) == name
    assert pb.JobState.State.Name(pb.JobState.State.Value(name)) == name


def test_starting_is_shown_as_pending() -> None:
    job = transitions.place(transitions.admit(new_job(), 0, now=NOW), 0, [(), ()], now=NOW)
    detail = pb.JobStatusDetail.FromString(job_status.encode_status(job.status))
    assert detail.tasks[0].state == "Pending"
    assert [party.state for party in detail.tasks[0].parties] == ["Pending", "Pending"]
    assert detail.tasks[0].start_time == ""


@pytest.mark.parametrize("state", [*JobState, *TaskState])
def test_every_state_is_possible_in_one_kind_of_phase(state: Any) -> None:
    possible = 0
    for make in (lambda: Unstarted(state, NOW), lambda: Started(state, NOW), lambda: Ended(state, NOW, NOW)):
        with contextlib.suppress(ValueError):
            assert make().state is state
            possible += 1
    assert possible == 1


@pytest.mark.parametrize("kind", list(EventType))
def test_an_event_has_its_type_and_the_whole_status(kind: EventType) -> None:
    job = replace(new_job("job-1"), number=3, revision=5)
    message = pb.WatchJobEventResponse.FromString(job_status.encode_event(JobEvent(5, kind, job.summary)))
    assert pb.EventType.Name(message.type) == kind
    assert message.object.job_id == "job-1"
    detail = pb.JobStatusDetail.FromString(job_status.encode_status(job.status))
    assert message.object.status == detail


def test_a_summary_is_the_job_id_and_status() -> None:
    message = pb.JobStatus.FromString(job_status.encode_summary(new_job("job-2").summary))
    assert (message.job_id, message.status.state) == ("job-2", "Pending")


def test_endpoints_of_a_party_are_those_that_others_may_reach() -> None:
    endpoints = tuple(Endpoint(scope.lower(), scope, "TCP", "host:1") for scope in ("Cluster", "Domain", "Local"))
    job = new_job()
    (before,) = job.status.tasks
    parties = tuple(replace(party, endpoints=endpoints) for party in before.parties)
    status = replace(job.status, tasks=(replace(before, parties=parties),))
    told = pb.JobStatusDetail.FromString(job_status.encode_status(status)).tasks[0].parties[0].endpoints
    assert [endpoint.scope for endpoint in told] == ["Cluster", "Domain"]


def test_parties_that_are_told_alike_are_encoded_once_whatever_their_times() -> None:
    early, late = (PartyStatus("alice", state=TaskState.RUNNING, started_at=NOW + second) for second in (0, 1))
    assert job_status._encode_party(early) is job_status._encode_party(late)
