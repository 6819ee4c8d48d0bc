# mypy: disallow-any-generics=False
import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "runtime", "capabilities", "limits", "start_time", "uptime", "caller", "revision", "used", "load", "http_port")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class UsedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    HTTP_PORT_FIELD_NUMBER: _ClassVar[int]
    version: str
    runtime: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    limits: _containers.ScalarMap[str, int]
    start_time: _timestamp_pb2.Timestamp
    uptime: _duration_pb2.Duration
    caller: CallerRights
    revision: int
    used: _containers.ScalarMap[str, int]
    load: ServerLoad
    http_port: int
    def __init__(self, version: _Optional[str] = ..., runtime: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., limits: _Optional[_Mapping[str, int]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., uptime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., caller: _Optional[_Union[CallerRights, _Mapping]] = ..., revision: _Optional[int] = ..., used: _Optional[_Mapping[str, int]] = ..., load: _Optional[_Union[ServerLoad, _Mapping]] = ..., http_port: _Optional[int] = ...) -> None: ...

class ServerLoad(_message.Message):
    __slots__ = ("jobs", "scheduled_jobs", "jobs_waiting_for_room", "running_parties", "store_queue_length", "commit_median", "commit_p99", "watch_streams", "watch_lag_events_max")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_JOBS_FIELD_NUMBER: _ClassVar[int]
    JOBS_WAITING_FOR_ROOM_FIELD_NUMBER: _ClassVar[int]
    RUNNING_PARTIES_FIELD_NUMBER: _ClassVar[int]
    STORE_QUEUE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    COMMIT_MEDIAN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_P99_FIELD_NUMBER: _ClassVar[int]
    WATCH_STREAMS_FIELD_NUMBER: _ClassVar[int]
    WATCH_LAG_EVENTS_MAX_FIELD_NUMBER: _ClassVar[int]
    jobs: int
    scheduled_jobs: int
    jobs_waiting_for_room: int
    running_parties: int
    store_queue_length: int
    commit_median: _duration_pb2.Duration
    commit_p99: _duration_pb2.Duration
    watch_streams: int
    watch_lag_events_max: int
    def __init__(self, jobs: _Optional[int] = ..., scheduled_jobs: _Optional[int] = ..., jobs_waiting_for_room: _Optional[int] = ..., running_parties: _Optional[int] = ..., store_queue_length: _Optional[int] = ..., commit_median: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., commit_p99: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., watch_streams: _Optional[int] = ..., watch_lag_events_max: _Optional[int] = ...) -> None: ...

class CallerRights(_message.Message):
    __slots__ = ("domain_id", "is_master", "sees_jobs", "may_create_for")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    IS_MASTER_FIELD_NUMBER: _ClassVar[int]
    SEES_JOBS_FIELD_NUMBER: _ClassVar[int]
    MAY_CREATE_FOR_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    is_master: bool
    sees_jobs: str
    may_create_for: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, domain_id: _Optional[str] = ..., is_master: _Optional[bool] = ..., sees_jobs: _Optional[str] = ..., may_create_for: _Optional[_Iterable[str]] = ...) -> None: ...
