"""What WatchJobs tells. The job of an event is encoded once for all streams; what differs between them comes before it.

Protobuf merges concatenated messages into one, and in JSON the job comes last.
"""

from functools import lru_cache

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as kuscia
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.contracts import Published
from kusciajob.model.selection import JobFilter
from kusciajob.model.status import EventType, JobEvent
from kusciajob.wire.job_status import encode_status
from kusciajob.wire.json import to_json
from kusciajob.wire.nested import nested, tag_of
from kusciajob.wire.v1.summaries import encode_job

_JOB, _STATUS = tag_of(pb.WatchJobsResponse, "job"), tag_of(pb.WatchJobsResponse, "status")
_JSON_JOB = b'"job":'
_NAMES = {
    pb.WatchJobsResponse.TYPE_ADDED: "added",
    pb.WatchJobsResponse.TYPE_MODIFIED: "modified",
    pb.WatchJobsResponse.TYPE_DELETED: "deleted",
    pb.WatchJobsResponse.TYPE_ERROR: "fault",  # browsers have an event `error` of their own
    pb.WatchJobsResponse.TYPE_LEFT: "left",
    pb.WatchJobsResponse.TYPE_BOOKMARK: "bookmark",
}


class ToldEvent:
    """An event, or a bookmark where there is none, as a stream is told."""

    __slots__ = ("_published", "_type", "revision")

    def __init__(self, kind: pb.WatchJobsResponse.Type, revision: int, published: Published | None = None) -> None:
        self._type = kind
        self.revision = revision
        self._published = published

    @property
    def id(self) -> str:
        """After which a stream can go on; empty where none can."""
        is_place = self.revision or self._type == pb.WatchJobsResponse.TYPE_BOOKMARK  # that of an empty log is 0
        return str(self.revision) if is_place else ""

    @property
    def event(self) -> str:
        """The name that server-sent events give it."""
        return _NAMES[self._type]

    def SerializeToString(self) -> bytes:  # noqa: N802  # as of a protobuf message
        """A WatchJobsResponse."""
        head = _head(self._type, self.revision)
        return head if self._published is None else head + self._published.encoded(_encode_job)

    def to_json(self) -> bytes:
        """The same in JSON."""
        before, after = _json_head(self._type, self.revision)
        return before + (after if self._published is None else self._published.encoded(_encode_json_job))


def told(published: Published, chosen: JobFilter, *, revision: int) -> ToldEvent:
    """An event that a stream with that filter wants: ADDED where the job enters, LEFT where it leaves."""
    return ToldEvent(_type_of(published.event, chosen), revision, published)


def bookmark(revision: int) -> ToldEvent:
    """Nothing else up to that revision."""
    return ToldEvent(pb.WatchJobsResponse.TYPE_BOOKMARK, revision)


def _type_of(event: JobEvent, chosen: JobFilter) -> pb.WatchJobsResponse.Type:
    if event.type is EventType.ERROR:
        return pb.WatchJobsResponse.TYPE_ERROR
    if event.type is EventType.DELETED:
        return pb.WatchJobsResponse.TYPE_DELETED
    before, after = chosen.passes(event)
    if not (before or after):  # nobody can know
        return pb.WatchJobsResponse.TYPE_ERROR
    if not after:
        return pb.WatchJobsResponse.TYPE_LEFT
    return pb.WatchJobsResponse.TYPE_MODIFIED if before else pb.WatchJobsResponse.TYPE_ADDED


@lru_cache(maxsize=1024)
def _head(kind: pb.WatchJobsResponse.Type, revision: int) -> bytes:
    return pb.WatchJobsResponse(type=kind, revision=revision).SerializeToString()


@lru_cache(maxsize=1024)
def _json_head(kind: pb.WatchJobsResponse.Type, revision: int) -> tuple[bytes, bytes]:
    """What comes before the job, and the rest where there is none."""
    before, job, after = to_json(pb.WatchJobsResponse(type=kind, revision=revision)).partition(_JSON_JOB)
    return before, job + after


def _encode_job(event: JobEvent) -> bytes:
    return nested(_JOB, encode_job(event.job).SerializeToString()) + nested(_STATUS, encode_status(event.job.status))


def _encode_json_job(event: JobEvent) -> bytes:
    status = kuscia.JobStatusDetail.FromString(encode_status(event.job.status))
    _, job, after = to_json(pb.WatchJobsResponse(job=encode_job(event.job), status=status)).partition(_JSON_JOB)
    return job + after
