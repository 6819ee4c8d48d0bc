# mypy: disallow-any-generics=False
from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApproveResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPROVE_RESULT_UNKNOWN: _ClassVar[ApproveResult]
    APPROVE_RESULT_ACCEPT: _ClassVar[ApproveResult]
    APPROVE_RESULT_REJECT: _ClassVar[ApproveResult]

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADDED: _ClassVar[EventType]
    MODIFIED: _ClassVar[EventType]
    DELETED: _ClassVar[EventType]
    ERROR: _ClassVar[EventType]
    HEARTBEAT: _ClassVar[EventType]
APPROVE_RESULT_UNKNOWN: ApproveResult
APPROVE_RESULT_ACCEPT: ApproveResult
APPROVE_RESULT_REJECT: ApproveResult
ADDED: EventType
MODIFIED: EventType
DELETED: EventType
ERROR: EventType
HEARTBEAT: EventType

class CreateJobRequest(_message.Message):
    __slots__ = ("header", "job_id", "initiator", "max_parallelism", "tasks", "custom_fields")
    class CustomFieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLELISM_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELDS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    initiator: str
    max_parallelism: int
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    custom_fields: _containers.ScalarMap[str, str]
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ..., initiator: _Optional[str] = ..., max_parallelism: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., custom_fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: CreateJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[CreateJobResponseData, _Mapping]] = ...) -> None: ...

class CreateJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("app_image", "parties", "alias", "task_id", "dependencies", "task_input_config", "priority", "schedule_config", "tolerable")
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    TASK_INPUT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TOLERABLE_FIELD_NUMBER: _ClassVar[int]
    app_image: str
    parties: _containers.RepeatedCompositeFieldContainer[Party]
    alias: str
    task_id: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    task_input_config: str
    priority: int
    schedule_config: ScheduleConfig
    tolerable: bool
    def __init__(self, app_image: _Optional[str] = ..., parties: _Optional[_Iterable[_Union[Party, _Mapping]]] = ..., alias: _Optional[str] = ..., task_id: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., task_input_config: _Optional[str] = ..., priority: _Optional[int] = ..., schedule_config: _Optional[_Union[ScheduleConfig, _Mapping]] = ..., tolerable: _Optional[bool] = ...) -> None: ...

class ScheduleConfig(_message.Message):
    __slots__ = ("task_timeout_seconds", "resource_reserved_seconds", "resource_reallocation_interval_seconds")
    TASK_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_RESERVED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_REALLOCATION_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    task_timeout_seconds: int
    resource_reserved_seconds: int
    resource_reallocation_interval_seconds: int
    def __init__(self, task_timeout_seconds: _Optional[int] = ..., resource_reserved_seconds: _Optional[int] = ..., resource_reallocation_interval_seconds: _Optional[int] = ...) -> None: ...

class Party(_message.Message):
    __slots__ = ("domain_id", "role", "resources", "bandwidth_limits")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_LIMITS_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    role: str
    resources: JobResource
    bandwidth_limits: _containers.RepeatedCompositeFieldContainer[BandwidthLimit]
    def __init__(self, domain_id: _Optional[str] = ..., role: _Optional[str] = ..., resources: _Optional[_Union[JobResource, _Mapping]] = ..., bandwidth_limits: _Optional[_Iterable[_Union[BandwidthLimit, _Mapping]]] = ...) -> None: ...

class JobResource(_message.Message):
    __slots__ = ("cpu", "memory", "bandwidth")
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_FIELD_NUMBER: _ClassVar[int]
    cpu: str
    memory: str
    bandwidth: str
    def __init__(self, cpu: _Optional[str] = ..., memory: _Optional[str] = ..., bandwidth: _Optional[str] = ...) -> None: ...

class BandwidthLimit(_message.Message):
    __slots__ = ("destination_id", "limit_kbps")
    DESTINATION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_KBPS_FIELD_NUMBER: _ClassVar[int]
    destination_id: str
    limit_kbps: int
    def __init__(self, destination_id: _Optional[str] = ..., limit_kbps: _Optional[int] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("header", "job_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ...) -> None: ...

class DeleteJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: DeleteJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[DeleteJobResponseData, _Mapping]] = ...) -> None: ...

class DeleteJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class StopJobRequest(_message.Message):
    __slots__ = ("header", "job_id", "reason")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    reason: str
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class StopJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: StopJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[StopJobResponseData, _Mapping]] = ...) -> None: ...

class StopJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class SuspendJobRequest(_message.Message):
    __slots__ = ("header", "job_id", "reason")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    reason: str
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SuspendJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: SuspendJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[SuspendJobResponseData, _Mapping]] = ...) -> None: ...

class SuspendJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class RestartJobRequest(_message.Message):
    __slots__ = ("header", "job_id", "reason")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    reason: str
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RestartJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: RestartJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[RestartJobResponseData, _Mapping]] = ...) -> None: ...

class RestartJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("header", "job_id", "reason")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    reason: str
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: CancelJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[CancelJobResponseData, _Mapping]] = ...) -> None: ...

class CancelJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class QueryJobRequest(_message.Message):
    __slots__ = ("header", "job_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_id: str
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_id: _Optional[str] = ...) -> None: ...

class QueryJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: QueryJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[QueryJobResponseData, _Mapping]] = ...) -> None: ...

class QueryJobResponseData(_message.Message):
    __slots__ = ("job_id", "initiator", "max_parallelism", "tasks", "status", "custom_fields")
    class CustomFieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLELISM_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELDS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    initiator: str
    max_parallelism: int
    tasks: _containers.RepeatedCompositeFieldContainer[TaskConfig]
    status: JobStatusDetail
    custom_fields: _containers.ScalarMap[str, str]
    def __init__(self, job_id: _Optional[str] = ..., initiator: _Optional[str] = ..., max_parallelism: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[TaskConfig, _Mapping]]] = ..., status: _Optional[_Union[JobStatusDetail, _Mapping]] = ..., custom_fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ApproveJobRequest(_message.Message):
    __slots__ = ("job_id", "result", "reason")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    result: ApproveResult
    reason: str
    def __init__(self, job_id: _Optional[str] = ..., result: _Optional[_Union[ApproveResult, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ApproveJobResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: ApproveJobResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[ApproveJobResponseData, _Mapping]] = ...) -> None: ...

class ApproveJobResponseData(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class JobStatusDetail(_message.Message):
    __slots__ = ("state", "err_msg", "create_time", "start_time", "end_time", "tasks", "stage_status_list", "approve_status_list")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STAGE_STATUS_LIST_FIELD_NUMBER: _ClassVar[int]
    APPROVE_STATUS_LIST_FIELD_NUMBER: _ClassVar[int]
    state: str
    err_msg: str
    create_time: str
    start_time: str
    end_time: str
    tasks: _containers.RepeatedCompositeFieldContainer[TaskStatus]
    stage_status_list: _containers.RepeatedCompositeFieldContainer[PartyStageStatus]
    approve_status_list: _containers.RepeatedCompositeFieldContainer[PartyApproveStatus]
    def __init__(self, state: _Optional[str] = ..., err_msg: _Optional[str] = ..., create_time: _Optional[str] = ..., start_time: _Optional[str] = ..., end_time: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[TaskStatus, _Mapping]]] = ..., stage_status_list: _Optional[_Iterable[_Union[PartyStageStatus, _Mapping]]] = ..., approve_status_list: _Optional[_Iterable[_Union[PartyApproveStatus, _Mapping]]] = ...) -> None: ...

class TaskConfig(_message.Message):
    __slots__ = ("app_image", "parties", "alias", "task_id", "dependencies", "task_input_config", "priority", "schedule_config")
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    TASK_INPUT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    app_image: str
    parties: _containers.RepeatedCompositeFieldContainer[Party]
    alias: str
    task_id: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    task_input_config: str
    priority: int
    schedule_config: ScheduleConfig
    def __init__(self, app_image: _Optional[str] = ..., parties: _Optional[_Iterable[_Union[Party, _Mapping]]] = ..., alias: _Optional[str] = ..., task_id: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., task_input_config: _Optional[str] = ..., priority: _Optional[int] = ..., schedule_config: _Optional[_Union[ScheduleConfig, _Mapping]] = ...) -> None: ...

class PartyStageStatus(_message.Message):
    __slots__ = ("domain_id", "state")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    state: str
    def __init__(self, domain_id: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class PartyApproveStatus(_message.Message):
    __slots__ = ("domain_id", "state")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    state: str
    def __init__(self, domain_id: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class TaskStatus(_message.Message):
    __slots__ = ("task_id", "state", "err_msg", "create_time", "start_time", "end_time", "parties", "alias", "progress")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    state: str
    err_msg: str
    create_time: str
    start_time: str
    end_time: str
    parties: _containers.RepeatedCompositeFieldContainer[PartyStatus]
    alias: str
    progress: float
    def __init__(self, task_id: _Optional[str] = ..., state: _Optional[str] = ..., err_msg: _Optional[str] = ..., create_time: _Optional[str] = ..., start_time: _Optional[str] = ..., end_time: _Optional[str] = ..., parties: _Optional[_Iterable[_Union[PartyStatus, _Mapping]]] = ..., alias: _Optional[str] = ..., progress: _Optional[float] = ...) -> None: ...

class PartyStatus(_message.Message):
    __slots__ = ("domain_id", "state", "err_msg", "endpoints")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    state: str
    err_msg: str
    endpoints: _containers.RepeatedCompositeFieldContainer[JobPartyEndpoint]
    def __init__(self, domain_id: _Optional[str] = ..., state: _Optional[str] = ..., err_msg: _Optional[str] = ..., endpoints: _Optional[_Iterable[_Union[JobPartyEndpoint, _Mapping]]] = ...) -> None: ...

class JobState(_message.Message):
    __slots__ = ()
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        Unknown: _ClassVar[JobState.State]
        Pending: _ClassVar[JobState.State]
        Running: _ClassVar[JobState.State]
        Succeeded: _ClassVar[JobState.State]
        Failed: _ClassVar[JobState.State]
        AwaitingApproval: _ClassVar[JobState.State]
        ApprovalReject: _ClassVar[JobState.State]
        Cancelled: _ClassVar[JobState.State]
        Suspended: _ClassVar[JobState.State]
    Unknown: JobState.State
    Pending: JobState.State
    Running: JobState.State
    Succeeded: JobState.State
    Failed: JobState.State
    AwaitingApproval: JobState.State
    ApprovalReject: JobState.State
    Cancelled: JobState.State
    Suspended: JobState.State
    def __init__(self) -> None: ...

class BatchQueryJobStatusRequest(_message.Message):
    __slots__ = ("header", "job_ids")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    job_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., job_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchQueryJobStatusResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: BatchQueryJobStatusResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[BatchQueryJobStatusResponseData, _Mapping]] = ...) -> None: ...

class BatchQueryJobStatusResponseData(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobStatus]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobStatus, _Mapping]]] = ...) -> None: ...

class JobStatusResponse(_message.Message):
    __slots__ = ("status", "data")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.Status
    data: JobStatusResponseData
    def __init__(self, status: _Optional[_Union[_common_pb2.Status, _Mapping]] = ..., data: _Optional[_Union[JobStatusResponseData, _Mapping]] = ...) -> None: ...

class JobStatusResponseData(_message.Message):
    __slots__ = ("job_id", "status")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    status: JobStatusDetail
    def __init__(self, job_id: _Optional[str] = ..., status: _Optional[_Union[JobStatusDetail, _Mapping]] = ...) -> None: ...

class JobStatus(_message.Message):
    __slots__ = ("job_id", "status")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    status: JobStatusDetail
    def __init__(self, job_id: _Optional[str] = ..., status: _Optional[_Union[JobStatusDetail, _Mapping]] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("header", "timeout_seconds")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.RequestHeader
    timeout_seconds: int
    def __init__(self, header: _Optional[_Union[_common_pb2.RequestHeader, _Mapping]] = ..., timeout_seconds: _Optional[int] = ...) -> None: ...

class WatchJobEventResponse(_message.Message):
    __slots__ = ("type", "object")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    type: EventType
    object: JobStatus
    def __init__(self, type: _Optional[_Union[EventType, str]] = ..., object: _Optional[_Union[JobStatus, _Mapping]] = ...) -> None: ...

class JobPartyEndpoint(_message.Message):
    __slots__ = ("port_name", "scope", "endpoint")
    PORT_NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    port_name: str
    scope: str
    endpoint: str
    def __init__(self, port_name: _Optional[str] = ..., scope: _Optional[str] = ..., endpoint: _Optional[str] = ...) -> None: ...
