# mypy: disallow-any-generics=False
import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as _job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListJobsRequest(_message.Message):
    __slots__ = ("states", "initiator", "party", "job_id_prefix", "app_image", "custom_fields", "labels", "created_after", "created_before", "ended_after", "ended_before", "page_size", "page_token", "oldest_first", "min_revision")
    STATES_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ENDED_AFTER_FIELD_NUMBER: _ClassVar[int]
    ENDED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[str]
    initiator: str
    party: str
    job_id_prefix: str
    app_image: str
    custom_fields: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    created_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    ended_after: _timestamp_pb2.Timestamp
    ended_before: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    oldest_first: bool
    min_revision: int
    def __init__(self, states: _Optional[_Iterable[str]] = ..., initiator: _Optional[str] = ..., party: _Optional[str] = ..., job_id_prefix: _Optional[str] = ..., app_image: _Optional[str] = ..., custom_fields: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., created_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., oldest_first: _Optional[bool] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token", "revision")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobSummary]
    next_page_token: str
    revision: int
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class JobSummary(_message.Message):
    __slots__ = ("job_id", "initiator", "state", "err_msg", "create_time", "start_time", "end_time", "task_states", "progress", "custom_fields", "labels", "number", "revision", "parties", "app_images", "cause", "operations", "restart_time")
    class TaskStatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class CustomFieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    TASK_STATES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    APP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    RESTART_TIME_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    initiator: str
    state: str
    err_msg: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    task_states: _containers.ScalarMap[str, int]
    progress: float
    custom_fields: _containers.ScalarMap[str, str]
    labels: _containers.ScalarMap[str, str]
    number: int
    revision: int
    parties: _containers.RepeatedScalarFieldContainer[str]
    app_images: _containers.RepeatedScalarFieldContainer[str]
    cause: str
    operations: _containers.RepeatedScalarFieldContainer[str]
    restart_time: _timestamp_pb2.Timestamp
    def __init__(self, job_id: _Optional[str] = ..., initiator: _Optional[str] = ..., state: _Optional[str] = ..., err_msg: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., task_states: _Optional[_Mapping[str, int]] = ..., progress: _Optional[float] = ..., custom_fields: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., number: _Optional[int] = ..., revision: _Optional[int] = ..., parties: _Optional[_Iterable[str]] = ..., app_images: _Optional[_Iterable[str]] = ..., cause: _Optional[str] = ..., operations: _Optional[_Iterable[str]] = ..., restart_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("job_id", "min_revision")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    min_revision: int
    def __init__(self, job_id: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("summary", "request", "status", "waiting", "tasks", "stage", "stage_caller", "stage_reason", "awaited_domains")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_CALLER_FIELD_NUMBER: _ClassVar[int]
    STAGE_REASON_FIELD_NUMBER: _ClassVar[int]
    AWAITED_DOMAINS_FIELD_NUMBER: _ClassVar[int]
    summary: JobSummary
    request: SubmitJobRequest
    status: _job_pb2.JobStatusDetail
    waiting: str
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    stage: str
    stage_caller: str
    stage_reason: str
    awaited_domains: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, summary: _Optional[_Union[JobSummary, _Mapping]] = ..., request: _Optional[_Union[SubmitJobRequest, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatusDetail, _Mapping]] = ..., waiting: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., stage: _Optional[str] = ..., stage_caller: _Optional[str] = ..., stage_reason: _Optional[str] = ..., awaited_domains: _Optional[_Iterable[str]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("alias", "task_id", "app_image", "dependencies", "state", "err_msg", "progress", "attempt", "retry_time", "attempts", "wait_time")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WAIT_TIME_FIELD_NUMBER: _ClassVar[int]
    alias: str
    task_id: str
    app_image: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    state: str
    err_msg: str
    progress: float
    attempt: int
    retry_time: _timestamp_pb2.Timestamp
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    wait_time: _timestamp_pb2.Timestamp
    def __init__(self, alias: _Optional[str] = ..., task_id: _Optional[str] = ..., app_image: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., err_msg: _Optional[str] = ..., progress: _Optional[float] = ..., attempt: _Optional[int] = ..., retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., wait_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "state", "start_time", "end_time", "err_msg", "parties", "wait_time", "place_time")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    WAIT_TIME_FIELD_NUMBER: _ClassVar[int]
    PLACE_TIME_FIELD_NUMBER: _ClassVar[int]
    number: int
    state: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    err_msg: str
    parties: _containers.RepeatedCompositeFieldContainer[PartyAttempt]
    wait_time: _timestamp_pb2.Timestamp
    place_time: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[int] = ..., state: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., err_msg: _Optional[str] = ..., parties: _Optional[_Iterable[_Union[PartyAttempt, _Mapping]]] = ..., wait_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., place_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PartyAttempt(_message.Message):
    __slots__ = ("domain_id", "role", "state", "start_time", "end_time", "exit_code", "signal", "err_msg", "endpoints", "was_stopped")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    ERR_MSG_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    WAS_STOPPED_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    role: str
    state: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    exit_code: int
    signal: str
    err_msg: str
    endpoints: _containers.RepeatedCompositeFieldContainer[_job_pb2.JobPartyEndpoint]
    was_stopped: bool
    def __init__(self, domain_id: _Optional[str] = ..., role: _Optional[str] = ..., state: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exit_code: _Optional[int] = ..., signal: _Optional[str] = ..., err_msg: _Optional[str] = ..., endpoints: _Optional[_Iterable[_Union[_job_pb2.JobPartyEndpoint, _Mapping]]] = ..., was_stopped: _Optional[bool] = ...) -> None: ...

class ListJobHistoryRequest(_message.Message):
    __slots__ = ("job_id", "page_size", "page_token", "min_revision")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    page_size: int
    page_token: str
    min_revision: int
    def __init__(self, job_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListJobHistoryResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[JobHistoryEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[JobHistoryEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class JobHistoryEntry(_message.Message):
    __slots__ = ("revision", "time", "event", "caller", "peer", "alias", "attempt", "domain_id", "role", "reason", "exit_code", "progress", "was_stopped")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    WAS_STOPPED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    time: _timestamp_pb2.Timestamp
    event: str
    caller: str
    peer: str
    alias: str
    attempt: int
    domain_id: str
    role: str
    reason: str
    exit_code: int
    progress: float
    was_stopped: bool
    def __init__(self, revision: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[str] = ..., caller: _Optional[str] = ..., peer: _Optional[str] = ..., alias: _Optional[str] = ..., attempt: _Optional[int] = ..., domain_id: _Optional[str] = ..., role: _Optional[str] = ..., reason: _Optional[str] = ..., exit_code: _Optional[int] = ..., progress: _Optional[float] = ..., was_stopped: _Optional[bool] = ...) -> None: ...

class GetTaskConfigRequest(_message.Message):
    __slots__ = ("job_id", "alias", "domain_id", "role")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    alias: str
    domain_id: str
    role: str
    def __init__(self, job_id: _Optional[str] = ..., alias: _Optional[str] = ..., domain_id: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

class GetTaskConfigResponse(_message.Message):
    __slots__ = ("alias", "domain_id", "role", "files", "problem")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    alias: str
    domain_id: str
    role: str
    files: _containers.RepeatedCompositeFieldContainer[ConfigFile]
    problem: str
    def __init__(self, alias: _Optional[str] = ..., domain_id: _Optional[str] = ..., role: _Optional[str] = ..., files: _Optional[_Iterable[_Union[ConfigFile, _Mapping]]] = ..., problem: _Optional[str] = ...) -> None: ...

class ConfigFile(_message.Message):
    __slots__ = ("container", "path", "text", "is_cut")
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    container: str
    path: str
    text: str
    is_cut: bool
    def __init__(self, container: _Optional[str] = ..., path: _Optional[str] = ..., text: _Optional[str] = ..., is_cut: _Optional[bool] = ...) -> None: ...

class ListAuditEntriesRequest(_message.Message):
    __slots__ = ("job_id", "caller", "after", "before", "page_size", "page_token", "min_revision")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    caller: str
    after: _timestamp_pb2.Timestamp
    before: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    min_revision: int
    def __init__(self, job_id: _Optional[str] = ..., caller: _Optional[str] = ..., after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListAuditEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("id", "time", "caller", "peer", "method", "job_id", "code", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: int
    time: _timestamp_pb2.Timestamp
    caller: str
    peer: str
    method: str
    job_id: str
    code: int
    reason: str
    def __init__(self, id: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., caller: _Optional[str] = ..., peer: _Optional[str] = ..., method: _Optional[str] = ..., job_id: _Optional[str] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ValidateJobRequest(_message.Message):
    __slots__ = ("request", "file")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    request: SubmitJobRequest
    file: str
    def __init__(self, request: _Optional[_Union[SubmitJobRequest, _Mapping]] = ..., file: _Optional[str] = ...) -> None: ...

class ValidateJobResponse(_message.Message):
    __slots__ = ("problems", "waves", "tasks", "request", "ignored")
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    WAVES_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELD_NUMBER: _ClassVar[int]
    problems: _containers.RepeatedCompositeFieldContainer[FieldProblem]
    waves: _containers.RepeatedCompositeFieldContainer[Wave]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskPreview]
    request: SubmitJobRequest
    ignored: _containers.RepeatedCompositeFieldContainer[FieldProblem]
    def __init__(self, problems: _Optional[_Iterable[_Union[FieldProblem, _Mapping]]] = ..., waves: _Optional[_Iterable[_Union[Wave, _Mapping]]] = ..., tasks: _Optional[_Iterable[_Union[TaskPreview, _Mapping]]] = ..., request: _Optional[_Union[SubmitJobRequest, _Mapping]] = ..., ignored: _Optional[_Iterable[_Union[FieldProblem, _Mapping]]] = ...) -> None: ...

class FieldProblem(_message.Message):
    __slots__ = ("field", "description", "line", "column")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    line: int
    column: int
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ...) -> None: ...

class Wave(_message.Message):
    __slots__ = ("aliases",)
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class TaskPreview(_message.Message):
    __slots__ = ("alias", "task_id", "parties")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    alias: str
    task_id: str
    parties: _containers.RepeatedCompositeFieldContainer[PartyPreview]
    def __init__(self, alias: _Optional[str] = ..., task_id: _Optional[str] = ..., parties: _Optional[_Iterable[_Union[PartyPreview, _Mapping]]] = ...) -> None: ...

class PartyPreview(_message.Message):
    __slots__ = ("domain_id", "role", "deploy_template", "replicas", "containers")
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    DEPLOY_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    domain_id: str
    role: str
    deploy_template: str
    replicas: int
    containers: _containers.RepeatedCompositeFieldContainer[ContainerPreview]
    def __init__(self, domain_id: _Optional[str] = ..., role: _Optional[str] = ..., deploy_template: _Optional[str] = ..., replicas: _Optional[int] = ..., containers: _Optional[_Iterable[_Union[ContainerPreview, _Mapping]]] = ...) -> None: ...

class ContainerPreview(_message.Message):
    __slots__ = ("name", "image", "command", "args", "working_dir", "environment_names", "config_paths", "cpu_limit", "memory_limit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_NAMES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_PATHS_FIELD_NUMBER: _ClassVar[int]
    CPU_LIMIT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    image: str
    command: _containers.RepeatedScalarFieldContainer[str]
    args: _containers.RepeatedScalarFieldContainer[str]
    working_dir: str
    environment_names: _containers.RepeatedScalarFieldContainer[str]
    config_paths: _containers.RepeatedScalarFieldContainer[str]
    cpu_limit: str
    memory_limit: str
    def __init__(self, name: _Optional[str] = ..., image: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., args: _Optional[_Iterable[str]] = ..., working_dir: _Optional[str] = ..., environment_names: _Optional[_Iterable[str]] = ..., config_paths: _Optional[_Iterable[str]] = ..., cpu_limit: _Optional[str] = ..., memory_limit: _Optional[str] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("job", "task_policies", "deadline", "ttl", "labels")
    class TaskPoliciesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TaskPolicy
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TaskPolicy, _Mapping]] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    TASK_POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.CreateJobRequest
    task_policies: _containers.MessageMap[str, TaskPolicy]
    deadline: _duration_pb2.Duration
    ttl: _duration_pb2.Duration
    labels: _containers.ScalarMap[str, str]
    def __init__(self, job: _Optional[_Union[_job_pb2.CreateJobRequest, _Mapping]] = ..., task_policies: _Optional[_Mapping[str, TaskPolicy]] = ..., deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TaskPolicy(_message.Message):
    __slots__ = ("retry", "run_timeout")
    RETRY_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    retry: Retry
    run_timeout: _duration_pb2.Duration
    def __init__(self, retry: _Optional[_Union[Retry, _Mapping]] = ..., run_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("max_attempts", "first_backoff", "max_backoff", "factor", "exit_codes")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODES_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    first_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    factor: float
    exit_codes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, max_attempts: _Optional[int] = ..., first_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., factor: _Optional[float] = ..., exit_codes: _Optional[_Iterable[int]] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: JobSummary
    def __init__(self, job: _Optional[_Union[JobSummary, _Mapping]] = ...) -> None: ...

class WatchJobsRequest(_message.Message):
    __slots__ = ("states", "initiator", "party", "job_id_prefix", "app_image", "custom_fields", "labels", "created_after", "created_before", "ended_after", "ended_before", "job_ids", "after_revision", "include_existing", "timeout_seconds", "min_revision")
    STATES_FIELD_NUMBER: _ClassVar[int]
    INITIATOR_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    APP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ENDED_AFTER_FIELD_NUMBER: _ClassVar[int]
    ENDED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_EXISTING_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[str]
    initiator: str
    party: str
    job_id_prefix: str
    app_image: str
    custom_fields: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    created_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    ended_after: _timestamp_pb2.Timestamp
    ended_before: _timestamp_pb2.Timestamp
    job_ids: _containers.RepeatedScalarFieldContainer[str]
    after_revision: int
    include_existing: bool
    timeout_seconds: int
    min_revision: int
    def __init__(self, states: _Optional[_Iterable[str]] = ..., initiator: _Optional[str] = ..., party: _Optional[str] = ..., job_id_prefix: _Optional[str] = ..., app_image: _Optional[str] = ..., custom_fields: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., created_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., job_ids: _Optional[_Iterable[str]] = ..., after_revision: _Optional[int] = ..., include_existing: _Optional[bool] = ..., timeout_seconds: _Optional[int] = ..., min_revision: _Optional[int] = ...) -> None: ...

class WatchJobsResponse(_message.Message):
    __slots__ = ("type", "revision", "job", "status")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[WatchJobsResponse.Type]
        TYPE_ADDED: _ClassVar[WatchJobsResponse.Type]
        TYPE_MODIFIED: _ClassVar[WatchJobsResponse.Type]
        TYPE_DELETED: _ClassVar[WatchJobsResponse.Type]
        TYPE_ERROR: _ClassVar[WatchJobsResponse.Type]
        TYPE_LEFT: _ClassVar[WatchJobsResponse.Type]
        TYPE_BOOKMARK: _ClassVar[WatchJobsResponse.Type]
    TYPE_UNSPECIFIED: WatchJobsResponse.Type
    TYPE_ADDED: WatchJobsResponse.Type
    TYPE_MODIFIED: WatchJobsResponse.Type
    TYPE_DELETED: WatchJobsResponse.Type
    TYPE_ERROR: WatchJobsResponse.Type
    TYPE_LEFT: WatchJobsResponse.Type
    TYPE_BOOKMARK: WatchJobsResponse.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    type: WatchJobsResponse.Type
    revision: int
    job: JobSummary
    status: _job_pb2.JobStatusDetail
    def __init__(self, type: _Optional[_Union[WatchJobsResponse.Type, str]] = ..., revision: _Optional[int] = ..., job: _Optional[_Union[JobSummary, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatusDetail, _Mapping]] = ...) -> None: ...

class ReadTaskLogRequest(_message.Message):
    __slots__ = ("task_id", "domain_id", "role", "attempt", "replica", "stream", "tail_lines", "since_time", "offset", "follow", "all_parties")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TAIL_LINES_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    ALL_PARTIES_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    domain_id: str
    role: str
    attempt: int
    replica: int
    stream: str
    tail_lines: int
    since_time: _timestamp_pb2.Timestamp
    offset: int
    follow: bool
    all_parties: bool
    def __init__(self, task_id: _Optional[str] = ..., domain_id: _Optional[str] = ..., role: _Optional[str] = ..., attempt: _Optional[int] = ..., replica: _Optional[int] = ..., stream: _Optional[str] = ..., tail_lines: _Optional[int] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., offset: _Optional[int] = ..., follow: _Optional[bool] = ..., all_parties: _Optional[bool] = ...) -> None: ...

class ReadTaskLogResponse(_message.Message):
    __slots__ = ("lines", "domain_id", "role")
    LINES_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    domain_id: str
    role: str
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ..., domain_id: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("stream", "text", "offset", "time", "is_partial", "dropped_bytes", "end_offset")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    IS_PARTIAL_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BYTES_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    stream: str
    text: str
    offset: int
    time: _timestamp_pb2.Timestamp
    is_partial: bool
    dropped_bytes: int
    end_offset: int
    def __init__(self, stream: _Optional[str] = ..., text: _Optional[str] = ..., offset: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_partial: _Optional[bool] = ..., dropped_bytes: _Optional[int] = ..., end_offset: _Optional[int] = ...) -> None: ...
