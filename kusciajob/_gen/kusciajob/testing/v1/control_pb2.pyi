# mypy: disallow-any-generics=False
import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClockMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOCK_MODE_UNSPECIFIED: _ClassVar[ClockMode]
    CLOCK_MODE_STOPPED: _ClassVar[ClockMode]
    CLOCK_MODE_AUTO: _ClassVar[ClockMode]
    CLOCK_MODE_MACHINE: _ClassVar[ClockMode]
CLOCK_MODE_UNSPECIFIED: ClockMode
CLOCK_MODE_STOPPED: ClockMode
CLOCK_MODE_AUTO: ClockMode
CLOCK_MODE_MACHINE: ClockMode

class Selector(_message.Message):
    __slots__ = ("job_id", "task", "app_image", "domain", "role", "attempt")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    task: str
    app_image: str
    domain: str
    role: str
    attempt: int
    def __init__(self, job_id: _Optional[str] = ..., task: _Optional[str] = ..., app_image: _Optional[str] = ..., domain: _Optional[str] = ..., role: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("where", "script", "is_optional")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    IS_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    where: Selector
    script: Script
    is_optional: bool
    def __init__(self, where: _Optional[_Union[Selector, _Mapping]] = ..., script: _Optional[_Union[Script, _Mapping]] = ..., is_optional: _Optional[bool] = ...) -> None: ...

class Script(_message.Message):
    __slots__ = ("after", "exit_code", "message", "signal", "crash", "hold", "hang", "progress", "lines", "endpoints", "start_after", "waiting", "never_scheduled", "start_error")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    CRASH_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    HANG_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    NEVER_SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    START_ERROR_FIELD_NUMBER: _ClassVar[int]
    after: _duration_pb2.Duration
    exit_code: int
    message: str
    signal: int
    crash: bool
    hold: bool
    hang: bool
    progress: _containers.RepeatedScalarFieldContainer[float]
    lines: _containers.RepeatedCompositeFieldContainer[Line]
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    start_after: _duration_pb2.Duration
    waiting: str
    never_scheduled: str
    start_error: str
    def __init__(self, after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., exit_code: _Optional[int] = ..., message: _Optional[str] = ..., signal: _Optional[int] = ..., crash: _Optional[bool] = ..., hold: _Optional[bool] = ..., hang: _Optional[bool] = ..., progress: _Optional[_Iterable[float]] = ..., lines: _Optional[_Iterable[_Union[Line, _Mapping]]] = ..., endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ..., start_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., waiting: _Optional[str] = ..., never_scheduled: _Optional[str] = ..., start_error: _Optional[str] = ...) -> None: ...

class Line(_message.Message):
    __slots__ = ("text", "stream", "after")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    text: str
    stream: str
    after: _duration_pb2.Duration
    def __init__(self, text: _Optional[str] = ..., stream: _Optional[str] = ..., after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("port_name", "scope", "endpoint")
    PORT_NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    port_name: str
    scope: str
    endpoint: str
    def __init__(self, port_name: _Optional[str] = ..., scope: _Optional[str] = ..., endpoint: _Optional[str] = ...) -> None: ...

class SetScriptsRequest(_message.Message):
    __slots__ = ("rules", "append")
    RULES_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    append: bool
    def __init__(self, rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., append: _Optional[bool] = ...) -> None: ...

class SetScriptsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("where",)
    WHERE_FIELD_NUMBER: _ClassVar[int]
    where: Selector
    def __init__(self, where: _Optional[_Union[Selector, _Mapping]] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: int
    def __init__(self, released: _Optional[int] = ...) -> None: ...

class AdvanceClockRequest(_message.Message):
    __slots__ = ("by", "mode")
    BY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    by: _duration_pb2.Duration
    mode: ClockMode
    def __init__(self, by: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mode: _Optional[_Union[ClockMode, str]] = ...) -> None: ...

class AdvanceClockResponse(_message.Message):
    __slots__ = ("now",)
    NOW_FIELD_NUMBER: _ClassVar[int]
    now: _timestamp_pb2.Timestamp
    def __init__(self, now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AwaitIdleRequest(_message.Message):
    __slots__ = ("held", "patience")
    HELD_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    held: Selector
    patience: _duration_pb2.Duration
    def __init__(self, held: _Optional[_Union[Selector, _Mapping]] = ..., patience: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AwaitIdleResponse(_message.Message):
    __slots__ = ("now", "held")
    NOW_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    now: _timestamp_pb2.Timestamp
    held: _containers.RepeatedCompositeFieldContainer[HeldParty]
    def __init__(self, now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., held: _Optional[_Iterable[_Union[HeldParty, _Mapping]]] = ...) -> None: ...

class HeldParty(_message.Message):
    __slots__ = ("job_id", "task", "domain", "role", "attempt")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    task: str
    domain: str
    role: str
    attempt: int
    def __init__(self, job_id: _Optional[str] = ..., task: _Optional[str] = ..., domain: _Optional[str] = ..., role: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("method", "domain", "skip", "times", "grpc", "body_code", "message", "delay", "cut", "after_effect", "after_messages", "message_delay")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    GRPC_FIELD_NUMBER: _ClassVar[int]
    BODY_CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    AFTER_EFFECT_FIELD_NUMBER: _ClassVar[int]
    AFTER_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_DELAY_FIELD_NUMBER: _ClassVar[int]
    method: str
    domain: str
    skip: int
    times: int
    grpc: str
    body_code: int
    message: str
    delay: _duration_pb2.Duration
    cut: bool
    after_effect: bool
    after_messages: int
    message_delay: _duration_pb2.Duration
    def __init__(self, method: _Optional[str] = ..., domain: _Optional[str] = ..., skip: _Optional[int] = ..., times: _Optional[int] = ..., grpc: _Optional[str] = ..., body_code: _Optional[int] = ..., message: _Optional[str] = ..., delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cut: _Optional[bool] = ..., after_effect: _Optional[bool] = ..., after_messages: _Optional[int] = ..., message_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class InjectFaultsRequest(_message.Message):
    __slots__ = ("faults", "append", "store_down", "partitioned", "cut_streams")
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    STORE_DOWN_FIELD_NUMBER: _ClassVar[int]
    PARTITIONED_FIELD_NUMBER: _ClassVar[int]
    CUT_STREAMS_FIELD_NUMBER: _ClassVar[int]
    faults: _containers.RepeatedCompositeFieldContainer[Fault]
    append: bool
    store_down: bool
    partitioned: bool
    cut_streams: str
    def __init__(self, faults: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ..., append: _Optional[bool] = ..., store_down: _Optional[bool] = ..., partitioned: _Optional[bool] = ..., cut_streams: _Optional[str] = ...) -> None: ...

class InjectFaultsResponse(_message.Message):
    __slots__ = ("matched", "cut")
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    matched: _containers.RepeatedScalarFieldContainer[int]
    cut: int
    def __init__(self, matched: _Optional[_Iterable[int]] = ..., cut: _Optional[int] = ...) -> None: ...

class CallsRequest(_message.Message):
    __slots__ = ("method", "after")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    method: str
    after: int
    def __init__(self, method: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class CallsResponse(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[RecordedCall]
    def __init__(self, calls: _Optional[_Iterable[_Union[RecordedCall, _Mapping]]] = ...) -> None: ...

class RecordedCall(_message.Message):
    __slots__ = ("number", "method", "domain", "request", "time", "outcome", "fault")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    number: int
    method: str
    domain: str
    request: _any_pb2.Any
    time: _timestamp_pb2.Timestamp
    outcome: str
    fault: int
    def __init__(self, number: _Optional[int] = ..., method: _Optional[str] = ..., domain: _Optional[str] = ..., request: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[str] = ..., fault: _Optional[int] = ...) -> None: ...

class SettleRequest(_message.Message):
    __slots__ = ("patience",)
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    patience: _duration_pb2.Duration
    def __init__(self, patience: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SettleResponse(_message.Message):
    __slots__ = ("now", "revision")
    NOW_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    now: _timestamp_pb2.Timestamp
    revision: int
    def __init__(self, now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("problems",)
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, problems: _Optional[_Iterable[str]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("settings", "mode")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    settings: _containers.ScalarMap[str, str]
    mode: ClockMode
    def __init__(self, settings: _Optional[_Mapping[str, str]] = ..., mode: _Optional[_Union[ClockMode, str]] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("now",)
    NOW_FIELD_NUMBER: _ClassVar[int]
    now: _timestamp_pb2.Timestamp
    def __init__(self, now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
