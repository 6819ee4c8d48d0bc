"""Messages as JSON: what Kuscia's clients see; the same as google.protobuf.json_format but for what is documented."""

import base64
import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2, job_pb2, log_pb2
from kusciajob.wire.bounds import MAX_DEPTH
from kusciajob.wire.json import JsonError, from_json, to_json

NOT_ALONE = ("TYPE_GROUP", "TYPE_MESSAGE")
KINDS = [
    value.name for value in descriptor_pb2.FieldDescriptorProto.Type.DESCRIPTOR.values if value.name not in NOT_ALONE
]

UNHURRIED = settings(deadline=None)  # the machine may be busy
MAX_FLOAT32 = b"3.4028235e38"  # which json_format writes, but does not read
NAN = st.just(math.nan)  # JSON knows only one, without sign and payload


def declare_every_kind() -> type[Message]:
    """A message with each kind of field once alone and once repeated, maps by each kind of key, and a message."""
    file = descriptor_pb2.FileDescriptorProto(name="every_kind.proto", package="test", syntax="proto3")
    color = file.enum_type.add(name="Color")
    for number, name in enumerate(["RED", "GREEN", "BLUE"]):
        color.value.add(name=name, number=number)
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="the_text", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    message = file.message_type.add(name="EveryKind")

    def add(name: str, kind: str, label: str, type_name: str | None) -> None:
        number = len(message.field) + 1
        message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)

    for kind in KINDS:
        name = kind.removeprefix("TYPE_").lower()
        type_name = ".test.Color" if kind == "TYPE_ENUM" else None
        add(f"one_{name}", kind, "LABEL_OPTIONAL", type_name)
        add(f"some_{name}", kind, "LABEL_REPEATED", type_name)
        if kind in ("TYPE_STRING", "TYPE_BOOL", "TYPE_INT32", "TYPE_UINT64", "TYPE_SFIXED64"):
            entry = message.nested_type.add(name=f"By{name.capitalize()}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=kind, label="LABEL_OPTIONAL")
            entry.field.add(name="value", number=2, type="TYPE_INT64", label="LABEL_OPTIONAL")
            add(f"by_{name}", "TYPE_MESSAGE", "LABEL_REPEATED", f".test.EveryKind.{entry.name}")
    add("one_message", "TYPE_MESSAGE", "LABEL_OPTIONAL", ".test.Inner")
    add("some_message", "TYPE_MESSAGE", "LABEL_REPEATED", ".test.Inner")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("test.EveryKind"))


EveryKind = declare_every_kind()


def kuscia_messages() -> list[type[Message]]:
    files = (common_pb2, job_pb2, health_pb2, log_pb2)
    return [
        GetMessageClass(message)
        for file in files
        for message in file.DESCRIPTOR.message_types_by_name.values()
        if message.fields
    ]


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_ENUM:
            return st.integers(-(2**31), 2**31 - 1) | st.integers(0, 4)
        case FieldDescriptor.CPPTYPE_UINT32:
            return st.integers(0, 2**32 - 1)
        case FieldDescriptor.CPPTYPE_INT64:
            return st.integers(-(2**63), 2**63 - 1)
        case FieldDescriptor.CPPTYPE_UINT64:
            return st.integers(0, 2**64 - 1)
        case FieldDescriptor.CPPTYPE_FLOAT:
            return st.floats(width=32, allow_nan=False) | NAN
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return st.floats(allow_nan=False) | NAN
    return st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else st.text(max_size=8)


def fields_of(descriptor: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            optional[field.name] = st.dictionaries(scalars(key), scalars(value), max_size=2)
        elif field.message_type and field.message_type.full_name == "google.protobuf.Any":
            continue  # see the tests of its own
        else:
            one = fields_of(field.message_type) if field.message_type else scalars(field)
            optional[field.name] = st.lists(one, max_size=2) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=optional)


messages = st.sampled_from([*kuscia_messages(), EveryKind, EveryKind]).flatmap(
    lambda kind: fields_of(kind.DESCRIPTOR).map(lambda fields: kind(**fields))  # type: ignore[arg-type]
)


def with_nulls(value: dict[str, Any], descriptor: Descriptor) -> dict[str, Any]:
    """What json_format prints, with the unset messages that it leaves out."""
    completed = {}
    for field in descriptor.fields:
        given = value.get(field.name)
        if field.message_type and not field.message_type.GetOptions().map_entry:
            if field.is_repeated:
                given = [with_nulls(item, field.message_type) for item in given or []]
            elif given is not None:
                given = with_nulls(given, field.message_type)
        completed[field.name] = given
    return completed


def bytes_of(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@UNHURRIED
@given(messages)
def test_written_as_json_format_writes_it_with_null_for_unset_messages(message: Message) -> None:
    theirs = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    expected = with_nulls(json.loads(theirs), message.DESCRIPTOR)  # type: ignore[arg-type]
    ours = json.loads(to_json(message))
    assert ours == expected
    assert list(ours) == list(expected), "the order of declaration"


@UNHURRIED
@given(messages)
def test_what_is_written_is_read_here_and_by_json_format(message: Message) -> None:
    text = to_json(message)
    assert bytes_of(from_json(text, type(message))) == bytes_of(message)
    if MAX_FLOAT32 not in text:
        assert bytes_of(json_format.Parse(text, type(message)())) == bytes_of(message)


@UNHURRIED
@given(messages, st.booleans(), st.booleans(), st.booleans())
def test_whatever_json_format_writes_is_read(
    message: Message, has_proto_names: bool, has_defaults: bool, has_enum_numbers: bool
) -> None:
    theirs = json_format.MessageToJson(
        message,
        preserving_proto_field_name=has_proto_names,
        always_print_fields_with_no_presence=has_defaults,
        use_integers_for_enums=has_enum_numbers,
    )
    assert bytes_of(from_json(theirs.encode(), type(message))) == bytes_of(message)


ODD_VALUES: list[Any] = [
    *(0, 1, -1, 2**31, -(2**31) - 1, 2**32, 2**63, 2**64, -(2**63) - 1, 10**30),
    *(0.0, 1.0, 1.5, -0.0, 1e2, 2e10, 1e19, 3.5e38, 1e300),
    *("", " ", "0", "1", "-1", "1.5", "1.0", "x", "true", "false", "null", "NaN", "Infinity", "-Infinity", "inf"),
    *("4294967295", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1e400", " 1", "1 ", "+"),
    *("RED", "BLUE", "red", "YQ==", "YQ", "_-8=", "/+8=", "Y", "\u00e9", "\x00", "a" * 100),
    *(True, False, None, [], {}, [None], [[]], {"x": 1}, {"": None}, {"true": "1"}, {"1": "1"}, {"01": 2}),
]


STRICTER: dict[str, Callable[[Any], bool]] = {
    "message": lambda value: not isinstance(value, dict),
    "enum": lambda value: isinstance(value, str | float | bool) or not -(2**31) <= value < 2**31,
    "bytes": lambda value: isinstance(value, str),
    "float": lambda value: isinstance(value, bool) or value in ("inf", "1e400", " 1", "1 "),
    "double": lambda value: isinstance(value, bool) or value in ("inf", "1e400", " 1", "1 "),
}


@pytest.mark.parametrize("name", [field.name for field in EveryKind.DESCRIPTOR.fields])
@pytest.mark.parametrize("in_list", [False, True], ids=["alone", "in-a-list"])
def test_odd_values_are_read_as_json_format_reads_them_or_refused_as_documented(name: str, in_list: bool) -> None:
    is_stricter = STRICTER.get(name.removeprefix("one_").removeprefix("some_"), lambda _: False)
    for value in ODD_VALUES:
        body = json.dumps({name: [value] if in_list else value})
        theirs: Message | None = None
        ours: Message | None = None
        with suppress(json_format.ParseError):
            theirs = json_format.Parse(body, EveryKind(), ignore_unknown_fields=True)
        with suppress(JsonError):
            ours = from_json(body.encode(), EveryKind)
        if ours is None:
            assert theirs is None or is_stricter(value), body
        elif not ("enum" in name and value == "1.0"):
            assert theirs is not None, body
            assert bytes_of(ours) == bytes_of(theirs), body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.sampled_from([field.name for field in EveryKind.DESCRIPTOR.fields]), values, max_size=3)
    ),
    max_leaves=10,
)


@UNHURRIED
@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20))
def test_nothing_but_a_json_error_comes_of_a_bad_body(body: bytes) -> None:
    with suppress(JsonError):
        from_json(body, EveryKind)


def test_the_form_that_kuscia_clients_see() -> None:
    message = job_pb2.WatchJobEventResponse(
        type=job_pb2.MODIFIED,
        object=job_pb2.JobStatus(job_id="job-1", status=job_pb2.JobStatusDetail(tasks=[{"progress": 0.42}])),
    )
    event = json.loads(to_json(message))
    assert event["type"] == "MODIFIED"
    assert event["object"]["job_id"] == "job-1"
    assert event["object"]["status"]["err_msg"] == ""
    assert event["object"]["status"]["stage_status_list"] == []
    assert b'"progress":0.42}' in to_json(message)
    assert to_json(job_pb2.CreateJobResponse()) == b'{"status":null,"data":null}'
    assert to_json(job_pb2.BandwidthLimit(limit_kbps=2**63)) == (
        b'{"destination_id":"","limit_kbps":"9223372036854775808"}'
    )


@pytest.mark.parametrize("number", [3.4028234663852886e38, -3.4028234663852886e38, 1e-45, -0.0, 16777216.0])
def test_the_ends_of_32_bit_floats_are_written_and_read(number: float) -> None:
    message = job_pb2.TaskStatus(progress=number)
    assert bytes_of(from_json(to_json(message), job_pb2.TaskStatus)) == bytes_of(message)
    with pytest.raises(JsonError, match=r"progress: 3\.5e38 is out of range"):
        from_json(b'{"progress": 3.5e38}', job_pb2.TaskStatus)


def test_a_known_message_in_details_is_shown_and_any_other_keeps_its_bytes() -> None:
    status = common_pb2.Status()
    status.details.add().Pack(common_pb2.ErrorResponse(status=common_pb2.Status(code=7)))
    status.details.add(type_url="type.googleapis.com/no.such.Message", value=b"\x00\xff")
    known, unknown = json.loads(to_json(status))["details"]
    assert known["@type"].endswith("ErrorResponse")
    assert known["status"]["code"] == 7
    assert unknown == {
        "@type": "type.googleapis.com/no.such.Message",
        "value": base64.b64encode(b"\x00\xff").decode(),
    }
    read = from_json(json.dumps({"details": [known]}).encode(), common_pb2.Status)
    assert read.details[0] == status.details[0]


def create_request(body: str) -> job_pb2.CreateJobRequest:
    return from_json(body.encode(), job_pb2.CreateJobRequest)


@pytest.mark.parametrize("priority", ["100", '"100"', "1e2", '"1e2"', "100.0"])
def test_an_integer_may_be_a_string_or_have_an_exponent(priority: str) -> None:
    assert create_request(f'{{"tasks": [{{"priority": {priority}}}]}}').tasks[0].priority == 100


def test_unknown_names_and_nulls_count_as_absent() -> None:
    request = create_request(
        '{"job_id": "a", "x": {"y": [{}]}, "header": null, "customFields": null, "tasks": [{"scheduleConfig": {}}]}'
    )
    assert request == job_pb2.CreateJobRequest(job_id="a", tasks=[job_pb2.Task(schedule_config={})])
    assert request.tasks[0].HasField("schedule_config")
    assert not request.HasField("header")


def test_of_a_repeated_name_the_last_counts() -> None:
    assert create_request('{"job_id": "a", "job_id": "b"}').job_id == "b"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", ["not JSON"]),
        ("job_id=1", ["not JSON"]),
        ('{"job_id": "\\ud800"}', ["not JSON"]),
        ('{"job_id": "a"} x', ["not JSON"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"header": ' * 5_000, ["nested too deeply"]),
        ("[]", ["expected an object, not a list"]),
        ("null", ["expected an object, not null"]),
        ('{"job_id": 5}', ["job_id: expected a string, not 5"]),
        ('{"tasks": {}}', ["tasks: expected a list, not an object"]),
        ('{"tasks": [{}, {"parties": [{"domainId": []}]}]}', ["tasks[1].parties[0].domainId: expected a string"]),
        ('{"tasks": [{}, null]}', ["tasks[1]: expected an object, not null"]),
        ('{"tasks": [{"tolerable": "true"}]}', ["tasks[0].tolerable: expected true or false", '"true"']),
        ('{"maxParallelism": 1.5}', ["maxParallelism: expected a whole number, not 1.5"]),
        ('{"maxParallelism": "2147483648"}', ["2147483648", "out of range", "2147483647"]),
        ('{"custom_fields": {"k\\n": 1}}', ['custom_fields["k\\n"]: expected a string, not 1']),
        ('{"job_id": "a", "jobId": "a"}', ["job_id and jobId", "twice"]),
        ('{"max_parallelism": "' + "9" * 1_000_000 + '"}', ["max_parallelism", "1000000 characters"]),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_an_error_names_the_place_the_value_and_what_would_be_right(body: str, words: list[str]) -> None:
    with pytest.raises(JsonError) as caught:
        create_request(body)
    text = str(caught.value)
    assert len(text) < 300
    assert [word for word in words if word not in text] == []


def test_a_wrong_enum_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(JsonError, match=r'result: .*APPROVE_RESULT_REJECT.* not "YES"'):
        from_json(b'{"result": "YES"}', job_pb2.ApproveJobRequest)
    by_name = from_json(b'{"result": "APPROVE_RESULT_REJECT"}', job_pb2.ApproveJobRequest)
    by_number = from_json(b'{"result": 2}', job_pb2.ApproveJobRequest)
    assert by_name.result == by_number.result == job_pb2.APPROVE_RESULT_REJECT


@pytest.mark.parametrize(("opened", "closed"), [('{"x":', "}"), ("[", "]")])
def test_the_depth_of_what_is_read_is_the_same_everywhere(opened: str, closed: str) -> None:
    def body(levels: int) -> bytes:
        return ('{"x":' + opened * (levels - 1) + "0" + closed * (levels - 1) + "}").encode()

    assert from_json(body(MAX_DEPTH), job_pb2.CreateJobRequest) == job_pb2.CreateJobRequest()
    for levels in (MAX_DEPTH + 1, 50_000):
        for text in (body(levels), body(levels)[:-1]):  # the second breaks off
            with pytest.raises(JsonError, match=f"nested too deeply: at most {MAX_DEPTH} levels"):
                from_json(text, job_pb2.CreateJobRequest)


def test_text_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(JsonError, match="not JSON"):
        from_json(b'{"job_id": "\xff"}', job_pb2.CreateJobRequest)
