# mypy: disallow-any-generics=False
from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QueryLogRequest(_message.Message):
    __slots__ = ("header", "task_id", "replica_idx", "container", "follow", "local")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_IDX_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    task_id: str
    replica_idx: int
    container: str
    follow: bool
    local: bool
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., task_id: _Optional[str] = ..., replica_idx: _Optional[int] = ..., container: _Optional[str] = ..., follow: _Optional[bool] = ..., local: _Optional[bool] = ...) -> None: ...

class QueryLogResponse(_message.Message):
    __slots__ = ("status", "log")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    log: str
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., log: _Optional[str] = ...) -> None: ...

class QueryPodNodeRequest(_message.Message):
    __slots__ = ("header", "task_id", "domain", "replica_idx")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    REPLICA_IDX_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    task_id: str
    domain: str
    replica_idx: int
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., task_id: _Optional[str] = ..., domain: _Optional[str] = ..., replica_idx: _Optional[int] = ...) -> None: ...

class QueryPodNodeResponse(_message.Message):
    __slots__ = ("status", "node_name", "node_ip")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    NODE_IP_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    node_name: str
    node_ip: str
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., node_name: _Optional[str] = ..., node_ip: _Optional[str] = ...) -> None: ...
