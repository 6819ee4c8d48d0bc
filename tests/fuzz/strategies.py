"""Requests: some as they should be, some nearly, some not at all."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb

NASTY = (
    "",
    "..",
    ".",
    "../../etc",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "\0",
    "a\nb",
    "a\r\nToken: x",
    " ",
    "-",
    "%2E%2E",
    "%00",
    "A",
    "\u0430lice",  # a Cyrillic a
    "alice\u200b",
    "\u202eecila",
    "\ufeff",
    "\U0001f600" * 60,
    "e\u0301",
    "\u00e9",
    "null",
    "{{.TASK_ID}}",
    "${HOME}",
    "'; DROP TABLE job; --",
    "a" * 63,
    "a" * 64,
    "a" * 253,
    "a" * 254,
    "x" * 20_000,
)
# By number: Hypothesis shows what it chooses from.
texts = st.integers(0, len(NASTY) - 1).map(NASTY.__getitem__) | st.text(max_size=30)
names = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)
domains = st.sampled_from(["alice", "bob", "carol"]) | st.text(min_size=1, max_size=8) | texts
quantities = st.sampled_from(["", "1", "500m", "4Gi", "1e3", "-1", "4GiB", "1" * 400])
_SCRIPTS = (
    "",
    '{"seconds": 0.01}',
    '{"seconds": 1e308}',
    '{"exit_code": 1, "message": "no"}',
    '{"exit_code": ' + "9" * 60 + "}",
    '{"seconds": -1}',
    '{"seconds": 0.05, "progress": [0.5, 7, -1]}',
    '{"start_error": "no"}',
    '{"seconds": "soon"}',
    '{"a":' * 5000,
    '{"parties": {"alice": {"exit_code": 2}}}',
)
scripts = st.integers(0, len(_SCRIPTS) - 1).map(_SCRIPTS.__getitem__)
int32 = st.sampled_from([0, 1, 2, -1, 128, 129, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: int32,
    FieldDescriptor.CPPTYPE_INT64: st.sampled_from([0, 1, -1, 2**31, 2**63 - 1]),
    FieldDescriptor.CPPTYPE_UINT64: st.sampled_from([0, 1, 2**64 - 1]),
    FieldDescriptor.CPPTYPE_ENUM: st.sampled_from([0, 1, 2, 3, -1, 2**31 - 1]),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_STRING: texts,
}


def messages(descriptor: Any) -> st.SearchStrategy[Any]:
    """Any message of the type that a descriptor tells."""
    return st.fixed_dictionaries({}, optional={field.name: _field(field) for field in descriptor.fields}).map(
        lambda fields: GetMessageClass(descriptor)(**fields)
    )


def _field(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.dictionaries(texts, texts, max_size=3)
    one = messages(field.message_type) if field.message_type is not None else _NUMBERS[field.cpp_type]
    return st.lists(one, max_size=3) if field.is_repeated else one


parties = st.builds(
    pb.Party,
    domain_id=domains,
    role=st.sampled_from(["", "client", "server"]) | texts,
    resources=st.none() | st.builds(pb.JobResource, cpu=quantities, memory=quantities, bandwidth=quantities),
    bandwidth_limits=st.lists(
        st.builds(pb.BandwidthLimit, destination_id=domains, limit_kbps=st.sampled_from([0, 1, 2**64 - 1])), max_size=1
    ),
)


@st.composite
def likely_jobs(draw: st.DrawFn) -> pb.CreateJobRequest:
    """Mostly valid ones: each with little that is wrong, or with nothing."""
    aliases = draw(st.lists(names | texts, min_size=1, max_size=4, unique=True))
    tasks = [
        pb.Task(
            alias=alias,
            app_image=draw(st.just("any") | texts),
            parties=draw(st.lists(parties, min_size=1, max_size=3, unique_by=lambda p: (p.domain_id, p.role))),
            task_id=draw(st.just("") | names | texts),
            dependencies=draw(st.lists(st.sampled_from(aliases[:index]), max_size=2)) if index else [],
            task_input_config=draw(scripts | texts),
            priority=draw(int32),
            schedule_config=draw(st.none() | messages(pb.ScheduleConfig.DESCRIPTOR)),
            tolerable=draw(st.booleans()) if index == len(aliases) - 1 else False,
        )
        for index, alias in enumerate(aliases)
    ]
    return pb.CreateJobRequest(
        job_id=draw(names | texts),
        initiator=draw(domains),
        max_parallelism=draw(int32),
        tasks=tasks,
        custom_fields=draw(st.dictionaries(st.text(max_size=40), st.text(max_size=64), max_size=2)),
        header=draw(st.none() | messages(pb.CreateJobRequest.DESCRIPTOR.fields_by_name["header"].message_type)),
    )


jobs = likely_jobs() | messages(pb.CreateJobRequest.DESCRIPTOR)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["job_id", "jobId", "tasks", "parties", "header", "custom_fields", "timeout_seconds"])
            | texts,
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
