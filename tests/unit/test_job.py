"""Every rule for a job specification, with the text of its refusal, as a request meets it."""

from collections.abc import Callable

import msgspec
import pytest
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model.errors import InvalidJob
from kusciajob.model.job import JobSpec, Party, ScheduleConfig, Task, task_ids
from kusciajob.model.text import shown
from kusciajob.wire.codec import decode_spec
from tests.support.builders import job_spec, task

NAME_RULE = (
    "it must be a DNS subdomain name (RFC 1123) of 1 to 253 characters: lower-case letters, digits, "
    '"-" and ".", every dot-separated label beginning and ending with a letter or digit, e.g. "psi-2024.run1"'
)


def valid_request() -> pb.CreateJobRequest:
    """Two tasks of two parties, the second after the first."""
    parties = [pb.Party(domain_id="alice", role="client"), pb.Party(domain_id="bob", role="server")]
    return pb.CreateJobRequest(
        job_id="job-1",
        initiator="alice",
        tasks=[
            pb.Task(alias="read", app_image="app", parties=parties),
            pb.Task(alias="psi", app_image="app", parties=parties, dependencies=["read"]),
        ],
    )


def refusal(change: Callable[[pb.CreateJobRequest], object]) -> str:
    """The text with which a valid request is refused after a change."""
    request = valid_request()
    change(request)
    with pytest.raises(InvalidJob) as refused:
        decode_spec(request)
    return str(refused.value)


def set_field(**fields: object) -> Callable[[pb.CreateJobRequest], None]:
    return lambda request: _set(request, fields)


def set_task(index: int, **fields: object) -> Callable[[pb.CreateJobRequest], None]:
    return lambda request: _set(request.tasks[index], fields)


def set_party(task_index: int, index: int, **fields: object) -> Callable[[pb.CreateJobRequest], None]:
    return lambda request: _set(request.tasks[task_index].parties[index], fields)


def _set(message: Message, fields: dict[str, object]) -> None:
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)


def test_a_valid_request_is_accepted() -> None:
    assert [task.alias for task in decode_spec(valid_request()).tasks] == ["read", "psi"]


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a.b", "psi-2024.run1", "a--b", "0.0.0", "x" * 253, "a" * 64 + ".b"])
def test_job_id_may_be_any_dns_subdomain_name(name: str) -> None:
    assert job_spec(name).job_id == name


@pytest.mark.parametrize(
    ("name", "in_text"),
    [
        ("Job", '"Job"'),
        ("-a", '"-a"'),
        ("a-", '"a-"'),
        ("a.", '"a."'),
        (".a", '".a"'),
        ("a..b", '"a..b"'),
        ("a.-b", '"a.-b"'),
        ("a_b", '"a_b"'),
        ("a b", '"a b"'),
        ("ä", '"ä"'),
        ("٣", '"٣"'),  # a digit, but no ASCII one
        ("a\n", "'a\\n'"),
        ("x" * 254, f"'{'x' * 40}…xxxxxxxx' (254 characters)"),
    ],
)
def test_job_id_must_be_a_dns_subdomain_name(name: str, in_text: str) -> None:
    assert refusal(set_field(job_id=name)) == f"job_id {in_text} is not valid: {NAME_RULE}"


def test_job_id_is_required() -> None:
    assert refusal(set_field(job_id="")) == f"job_id is required: {NAME_RULE}"


def test_initiator_is_required() -> None:
    assert refusal(set_field(initiator="")) == 'initiator is required, e.g. "alice"'


@pytest.mark.parametrize("value", ["a\tb", "x" * 64, "x" * 254, "a\u202eb", "a\u2066b", "a\x9bb", "a\u2028b"])
def test_initiator_is_of_at_most_63_printable_characters(value: str) -> None:
    assert refusal(set_field(initiator=value)) == (
        f"initiator {shown(value)} is not valid: at most 63 printable characters, no control characters or "
        "direction marks"
    )


@pytest.mark.parametrize("value", ["a\u202eb", "x" * 64])
def test_a_domain_id_is_of_at_most_63_printable_characters(value: str) -> None:
    assert refusal(set_party(1, 0, domain_id=value)) == (
        f"tasks[1]: parties[0]: domain_id {shown(value)} is not valid: at most 63 printable characters, "
        "no control characters or direction marks"
    )
    assert "\u202e" not in shown(value)


@pytest.mark.parametrize(("asked", "got"), [(-5, 1), (0, 1), (1, 1), (128, 128)])
def test_max_parallelism_below_one_means_one(asked: int, got: int) -> None:
    request = valid_request()
    request.max_parallelism = asked
    assert decode_spec(request).max_parallelism == got


def test_max_parallelism_is_at_most_128() -> None:
    assert refusal(set_field(max_parallelism=129)) == (
        "max_parallelism 129 is out of range: 1 to 128 (0 or less in a request means 1)"
    )


def test_a_job_has_1_to_128_tasks() -> None:
    assert refusal(lambda request: request.ClearField("tasks")) == "tasks has 0 entries: 1 to 128 are possible"
    assert len(job_spec(tasks=[task(f"t{index}") for index in range(128)]).tasks) == 128
    with pytest.raises(InvalidJob, match=r"^tasks has 129 entries: 1 to 128 are possible$"):
        job_spec(tasks=[task(f"t{index}") for index in range(129)])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_task(1, alias=""), 'tasks[1]: alias is required and must be unique in the job, e.g. "psi"'),
        (set_task(1, alias="read"), 'alias "read" is used twice: an alias must be unique in the job'),
        (set_task(1, app_image=""), 'tasks[1]: task "psi": app_image is required: the name of a registered AppImage'),
        (
            lambda request: request.tasks[1].ClearField("parties"),
            'tasks[1]: task "psi": parties is empty: at least one party is required',
        ),
        (set_party(1, 0, domain_id=""), 'tasks[1]: parties[0]: domain_id is required, e.g. "alice"'),
        (
            set_party(1, 1, domain_id="a\x00"),
            "tasks[1]: parties[1]: domain_id 'a\\x00' is not valid: at most 63 printable characters, "
            "no control characters or direction marks",
        ),
        (
            set_party(0, 1, role="a\nb"),
            "tasks[0]: parties[1]: role 'a\\nb' is not valid: at most 253 characters, no control characters",
        ),
        (
            set_party(
                0,
                1,
                domain_id="alice",
                role="client",
                bandwidth_limits=[pb.BandwidthLimit(destination_id="bob", limit_kbps=1)],
            ),
            'tasks[0]: task "read": party "alice" with role "client" is listed twice with different values: '
            "domain_id and role together must be unique in a task",
        ),
        (
            set_task(0, task_id="Read_1"),
            f'tasks[0]: task "read": task_id "Read_1" is not valid: {NAME_RULE}',
        ),
        (
            lambda request: (set_task(0, task_id="same")(request), set_task(1, task_id="same")(request)),
            'task_id "same" is used twice: it must be unique in the job',
        ),
        (set_task(1, tolerable=True), None),
        (set_task(0, tolerable=True), None),
        (
            lambda request: request.tasks[1].dependencies.append("psi"),
            'task "psi" depends on itself: remove it from its own dependencies',
        ),
        (
            lambda request: request.tasks[1].dependencies.append("write"),
            'task "psi" depends on "write", which is no alias of this job; possible: read',
        ),
        (
            lambda request: request.tasks[0].dependencies.append("psi"),
            "dependencies form a cycle: read -> psi -> read",
        ),
    ],
)
def test_tasks(change: Callable[[pb.CreateJobRequest], object], text: str | None) -> None:
    if text is None:
        request = valid_request()
        change(request)
        decode_spec(request)
    else:
        assert refusal(change) == text


def test_an_alias_may_have_any_characters() -> None:
    assert task("Start-SCQLEngine ä/#1").alias == "Start-SCQLEngine ä/#1"


def test_a_party_or_dependency_that_repeats_an_earlier_one_counts_once() -> None:
    request = valid_request()
    request.tasks[1].parties.append(request.tasks[1].parties[0])
    request.tasks[1].dependencies.append("read")
    assert decode_spec(request) == decode_spec(valid_request())


def test_one_domain_may_take_part_in_two_roles() -> None:
    Task(alias="a", app_image="app", parties=(Party("alice", "client"), Party("alice", "server")))


def test_a_cycle_is_shown_from_task_to_dependency() -> None:
    tasks = [
        task("a", dependencies=["b"]),
        task("b", dependencies=["c"]),
        task("c", dependencies=["d"]),
        task("d", dependencies=["b"]),
        task("free"),
    ]
    with pytest.raises(InvalidJob) as refused:
        job_spec(tasks=tasks)
    path = str(refused.value).removeprefix("dependencies form a cycle: ").split(" -> ")
    assert path[0] == path[-1]
    assert sorted(path[1:]) == ["b", "c", "d"]
    depends_on = {"b": "c", "c": "d", "d": "b"}
    assert [depends_on[alias] for alias in path[:-1]] == path[1:]


def test_a_deep_graph_is_no_problem() -> None:
    chain = [task(f"t{index}", dependencies=[f"t{index + 1}"] if index < 127 else ()) for index in range(128)]
    assert len(job_spec(tasks=chain).tasks) == 128


def test_the_only_task_has_nothing_to_depend_on() -> None:
    with pytest.raises(InvalidJob, match=r"which is no alias of this job; possible: none$"):
        job_spec(tasks=[task("a", dependencies=["b"])])


@pytest.mark.parametrize("field", ["cpu", "memory", "bandwidth"])
@pytest.mark.parametrize(
    "value", ["0", "2", "500m", "4Gi", "1.5", "1.", ".5", "+1", "1e3", "1E-3", "1k", "1M", "100n", "7Ei"]
)
def test_resources_are_kubernetes_quantities(field: str, value: str) -> None:
    request = valid_request()
    setattr(request.tasks[0].parties[0].resources, field, value)
    resources = decode_spec(request).tasks[0].parties[0].resources
    assert resources is not None
    assert getattr(resources, field) == value


@pytest.mark.parametrize("field", ["cpu", "memory", "bandwidth"])
@pytest.mark.parametrize("value", ["two", "-1", "4gi", "4 Gi", "1e", "Gi", ".", "1Kim", "1K", "٣", "1\n"])
def test_resources_that_are_no_quantity(field: str, value: str) -> None:
    def change(request: pb.CreateJobRequest) -> None:
        setattr(request.tasks[1].parties[1].resources, field, value)

    assert refusal(change) == (
        f"tasks[1]: parties[1]: resources.{field} {shown(value)} is not a Kubernetes quantity: "
        'a number with an optional suffix, e.g. "500m", "2" or "4Gi"'
    )


def test_a_bandwidth_limit_has_a_destination() -> None:
    assert refusal(lambda request: request.tasks[0].parties[0].bandwidth_limits.add(limit_kbps=1)) == (
        'tasks[0]: parties[0]: bandwidth_limits[0]: destination_id is required, e.g. "bob"'
    )


def test_a_bandwidth_limit_is_above_zero() -> None:
    def change(request: pb.CreateJobRequest) -> None:
        limits = request.tasks[0].parties[1].bandwidth_limits
        limits.add(destination_id="alice", limit_kbps=1)
        limits.add(destination_id="bob", limit_kbps=0)

    assert refusal(change) == ('tasks[0]: parties[1]: bandwidth_limits[1]: limit_kbps 0 for "bob" must be above 0')


@pytest.mark.parametrize("asked", [0, -1, -(2**31)])
def test_schedule_times_of_0_or_less_are_the_defaults(asked: int) -> None:
    assert ScheduleConfig(asked, asked, asked) == ScheduleConfig(300, 30, 30) == ScheduleConfig()
    assert ScheduleConfig(1, 2, asked) == ScheduleConfig(1, 2, 30)


def test_the_time_to_be_scheduled_is_300_seconds_by_default() -> None:
    assert ScheduleConfig().task_timeout_seconds == 300
    assert ScheduleConfig(task_timeout_seconds=7).task_timeout_seconds == 7


def test_custom_fields_are_short() -> None:
    assert job_spec(custom_fields={"k" * 63: "v" * 63})
    assert refusal(lambda request: request.custom_fields.update({"k" * 64: "v"})) == (
        f'custom_fields key "{"k" * 64}" has 64 characters: at most 63 are possible'
    )
    assert refusal(lambda request: request.custom_fields.update({"k": "v" * 64})) == (
        'custom_fields["k"] has 64 characters: at most 63 are possible'
    )


def test_the_same_request_gives_an_equal_spec() -> None:
    assert decode_spec(valid_request()) == decode_spec(valid_request())


def test_a_stored_spec_is_checked_and_equal() -> None:
    spec = decode_spec(valid_request())
    assert msgspec.json.decode(msgspec.json.encode(spec), type=JobSpec) == spec


def test_domains_come_in_order_of_first_appearance() -> None:
    parties = [(Party("carol"), Party("alice")), (Party("bob"), Party("carol"))]
    tasks = [Task(alias=f"t{index}", app_image="app", parties=each) for index, each in enumerate(parties)]
    assert job_spec(tasks=tasks).domains == ("carol", "alice", "bob")


def test_a_task_without_an_id_gets_one_from_its_job() -> None:
    suffixes = [f"{number:012x}" for number in range(3)]
    spec = job_spec("my-job", tasks=[task("a"), task("b", task_id="own"), task("c")])
    assert task_ids(spec, suffixes) == ("my-job-000000000000", "own", "my-job-000000000002")


@pytest.mark.parametrize(
    "job_id", ["x" * 253, "x" * 239 + "-" + "y" * 13, "x" * 239 + "." + "y" * 13, "x" * 238 + "--" + "y" * 13]
)
def test_a_generated_task_id_is_itself_a_valid_name(job_id: str) -> None:
    (task_id,) = task_ids(job_spec(job_id), ["0123456789ab"])
    assert len(task_id) <= 253
    assert task_id.endswith("-0123456789ab")
    assert job_id.startswith(task_id[:200])
    job_spec(tasks=[task(task_id=task_id)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("psi", '"psi"'),
        ("", '""'),
        ("a\nb", "'a\\nb'"),
        ("x" * 80, f'"{"x" * 80}"'),
        ("x" * 41 + "y" * 40, f"'{'x' * 40}…yyyyyyyy' (81 characters)"),
    ],
)
def test_a_value_in_an_error_text_is_quoted_and_short(value: str, text: str) -> None:
    assert shown(value) == text
