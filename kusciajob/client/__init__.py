"""For applications that drive jobs: one client for this server and for a plain Kuscia, blocking and for asyncio.

with Client("127.0.0.1:8083") as client:
    job = client.create(JobSpec("j1", "alice", [Task("psi", "psi-image", ["alice", "bob"])]))
    job.result(timeout=3600)
"""

from kusciajob.client.aio import AsyncClient
from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.blocking import Client, Job
from kusciajob.client.errors import (
    CallFailed,
    ClientError,
    InvalidJob,
    InvalidTransition,
    JobCancelled,
    JobDeleted,
    JobEnded,
    JobExists,
    JobFailed,
    JobNotFound,
    JobRejected,
    LimitReached,
    NotAllowed,
    NotOffered,
    PartyFailure,
    Problem,
    RevisionGone,
    RpcFailed,
    TimedOut,
    Unauthenticated,
    Unavailable,
    WaitTimeout,
)
from kusciajob.client.specs import JobSpec, Party, Retry, Task
from kusciajob.client.values import (
    Change,
    ChangeType,
    HistoryEntry,
    JobStatus,
    JobSummary,
    LogLine,
    PartyStatus,
    State,
    TaskStatus,
)

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "CallFailed",
    "Change",
    "ChangeType",
    "Client",
    "ClientError",
    "HistoryEntry",
    "InvalidJob",
    "InvalidTransition",
    "Job",
    "JobCancelled",
    "JobDeleted",
    "JobEnded",
    "JobExists",
    "JobFailed",
    "JobNotFound",
    "JobRejected",
    "JobSpec",
    "JobStatus",
    "JobSummary",
    "LimitReached",
    "LogLine",
    "NotAllowed",
    "NotOffered",
    "Party",
    "PartyFailure",
    "PartyStatus",
    "Problem",
    "Retry",
    "RevisionGone",
    "RpcFailed",
    "State",
    "Task",
    "TaskStatus",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "WaitTimeout",
]
