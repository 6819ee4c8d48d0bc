"""What an application writes becomes the message it means."""

from kusciajob.api import kuscia
from kusciajob.client.specs import JobSpec, Party, Retry, Schedule, Task, is_same, needs_v1, request_of

FULL = JobSpec(
    "j1",
    "alice",
    [
        Task("psi", "psi-image", ["alice", Party("bob", "guest", "500m", "2Gi", "10", {"alice": 100})], priority=3),
        Task("fit", "fit-image", ["bob"], after=["psi"], input={"rounds": 10}, schedule=Schedule(60, 20, 5)),
    ],
    max_parallelism=2,
    fields={"owner": "me"},
    is_strict=True,
)


def test_every_word_of_a_spec_is_in_the_request() -> None:
    job = request_of(FULL).job
    assert job.header.custom_headers == {"schedule_mode": "Strict"}
    assert (job.max_parallelism, dict(job.custom_fields)) == (2, {"owner": "me"})
    bob = job.tasks[0].parties[1]
    assert (bob.role, bob.resources.cpu, bob.resources.memory, bob.resources.bandwidth) == (
        "guest",
        "500m",
        "2Gi",
        "10",
    )
    assert [(limit.destination_id, limit.limit_kbps) for limit in bob.bandwidth_limits] == [("alice", 100)]
    assert not job.tasks[0].parties[0].HasField("resources")
    schedule = job.tasks[1].schedule_config
    assert schedule == kuscia.ScheduleConfig(
        task_timeout_seconds=60, resource_reserved_seconds=20, resource_reallocation_interval_seconds=5
    )
    assert (job.tasks[1].task_input_config, list(job.tasks[1].dependencies)) == ('{"rounds": 10}', ["psi"])


def test_what_a_plain_kuscia_cannot_be_told_is_named() -> None:
    assert needs_v1(request_of(FULL)) == []
    beyond = JobSpec("j1", "alice", [Task("psi", "any", ["alice"], retry=Retry(3))], ttl=60, labels={"a": "b"})
    assert set(needs_v1(request_of(beyond))) == {"ttl", "labels", "task_policies"}


def found(job: kuscia.CreateJobRequest) -> kuscia.QueryJobResponseData:
    """As QueryJob tells it: task ids are given, defaults are filled in."""
    told = kuscia.QueryJobResponseData(
        job_id=job.job_id,
        initiator=job.initiator,
        max_parallelism=max(job.max_parallelism, 1),
        custom_fields=job.custom_fields,
    )
    for number, task in enumerate(job.tasks):
        told.tasks.add(
            app_image=task.app_image,
            alias=task.alias,
            task_id=task.task_id or f"{job.job_id}-{number}",
            dependencies=task.dependencies,
            task_input_config=task.task_input_config,
            priority=task.priority,
            parties=task.parties,
        )
    return told


def test_the_same_job_is_known_again_and_another_is_not() -> None:
    job = request_of(FULL).job
    there = found(job)
    assert is_same(job, there)
    for change in (
        lambda other: setattr(other, "initiator", "bob"),
        lambda other: setattr(other, "max_parallelism", 3),
        lambda other: other.custom_fields.update(owner="you"),
        lambda other: other.tasks.add(alias="more"),
        lambda other: setattr(other.tasks[0], "app_image", "other"),
        lambda other: setattr(other.tasks[0], "priority", 4),
        lambda other: setattr(other.tasks[0], "task_id", "mine"),
        lambda other: setattr(other.tasks[0].parties[1], "role", "host"),
        lambda other: setattr(other.tasks[0].parties[1].resources, "cpu", "1"),
        lambda other: setattr(other.tasks[1], "task_input_config", "{}"),
        lambda other: other.tasks[1].dependencies.pop(),
    ):
        other = kuscia.CreateJobRequest.FromString(job.SerializeToString())
        change(other)
        assert not is_same(other, there)
