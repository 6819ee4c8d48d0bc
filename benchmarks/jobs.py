"""The requests of the benchmarks, serialised before anything is timed."""

import itertools
import json
import time
from collections.abc import Sequence

from benchmarks.h2 import LoadError, call_once
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb

_JOB_SERVICE = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService"
CREATE = f"{_JOB_SERVICE}/CreateJob"
QUERY = f"{_JOB_SERVICE}/QueryJob"
BATCH_QUERY = f"{_JOB_SERVICE}/BatchQueryJobStatus"
WATCH = f"{_JOB_SERVICE}/WatchJob"
STOP = f"{_JOB_SERVICE}/StopJob"

JOB_BYTES = 8192
DOMAINS = ("alice", "bob")
ALIASES = ("intersect", "split", "statistics", "train")
DEPENDENCIES = {"split": ["intersect"], "statistics": ["intersect"], "train": ["split", "statistics"]}
POLL_SECONDS = 0.002
ENDED = ("Succeeded", "Failed", "Cancelled")
PATIENCE_SECONDS = 60.0

_numbers = itertools.count()


def make_job(*, padding: int = 0) -> pb.CreateJobRequest:
    """4 tasks of 2 parties, the first before two others before the last; each config is so many bytes longer."""
    config = json.dumps({"seconds": 0, "settings": "s" * padding})
    return pb.CreateJobRequest(
        initiator=DOMAINS[0],
        max_parallelism=2,
        tasks=[
            pb.Task(
                alias=alias,
                app_image="any",
                parties=[pb.Party(domain_id=domain) for domain in DOMAINS],
                dependencies=DEPENDENCIES.get(alias, ()),
                task_input_config=config,
            )
            for alias in ALIASES
        ],
    )


class JobMessages:
    """Any number of requests that differ in nothing but their job id, which is always as long."""

    def __init__(self, job: pb.CreateJobRequest) -> None:
        job.job_id = self.next_id()
        self._before, self._after = job.SerializeToString().split(job.job_id.encode())

    @classmethod
    def large(cls) -> "JobMessages":
        """Of JOB_BYTES each, give or take a few."""
        missing = JOB_BYTES - make_job(padding=1000).ByteSize() - 16
        return cls(make_job(padding=1000 + missing // len(ALIASES)))

    @staticmethod
    def next_id() -> str:
        """One that was never used by this process."""
        return f"bench-{next(_numbers):08d}"

    def of(self, job_id: str) -> bytes:
        """The request for that job."""
        return self._before + job_id.encode() + self._after

    def take(self, count: int) -> list[bytes]:
        """Requests for so many new jobs."""
        return [self.of(self.next_id()) for _ in range(count)]


def create(address: str, messages: JobMessages, count: int) -> list[str]:
    """Create so many jobs, one after the other; their ids."""
    job_ids = [JobMessages.next_id() for _ in range(count)]
    for job_id in job_ids:
        create_one(address, messages.of(job_id))
    return job_ids


def create_one(address: str, message: bytes) -> bytes:
    """The reply to a job that must be accepted."""
    reply = call_once(address, CREATE, message)
    status = pb.CreateJobResponse.FromString(reply).status
    if status.code:
        raise LoadError(f"the job was refused: {status.message}")
    return reply


def stop(address: str, job_id: str) -> None:
    """Stop a job, and return once it has failed. LoadError when it ends otherwise, or late."""
    call_once(address, STOP, pb.StopJobRequest(job_id=job_id).SerializeToString())
    _wait(address, job_id, "Failed")


def query(address: str, job_id: str) -> bytes:
    """The reply to QueryJob."""
    return call_once(address, QUERY, query_message(job_id))


def query_message(job_id: str) -> bytes:
    return pb.QueryJobRequest(job_id=job_id).SerializeToString()


def batch_message(job_ids: Sequence[str]) -> bytes:
    return pb.BatchQueryJobStatusRequest(job_ids=job_ids).SerializeToString()


def wait_succeeded(address: str, job_ids: Sequence[str]) -> None:
    """Return once all have. LoadError when one ends otherwise, or late."""
    for job_id in job_ids:
        _wait(address, job_id, "Succeeded")


def _wait(address: str, job_id: str, wanted: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (state := state_in(query(address, job_id))) != wanted:
        if state in ENDED or time.monotonic() > deadline:
            raise LoadError(f"job {job_id} is {state}")
        time.sleep(POLL_SECONDS)


def state_in(reply: bytes) -> str:
    """The job's state in a reply to QueryJob."""
    return str(pb.QueryJobResponse.FromString(reply).data.status.state)


def event_states(messages: Sequence[bytes]) -> list[str]:
    """The jobs' states in events of WatchJob."""
    return [pb.WatchJobEventResponse.FromString(message).object.status.state for message in messages]
