"""Responses that are put together from bytes, or given again as they were."""

from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.wire.job_status import part, tags_of
from kusciajob.wire.json import to_json
from kusciajob.wire.status import SUCCESS, Code

MAX_BATCH_BYTES = 64 << 20


class ReadyResponse:
    """A successful response in its serialised form; others are made of it once, for all who ask."""

    __slots__ = ("_data", "_forms", "_kind")
    status = common_pb2.Status(message=SUCCESS)

    def __init__(self, kind: type[Message], data: bytes) -> None:
        self._kind = kind
        self._data = data
        self._forms: dict[Callable[[Message], bytes], bytes] = {}

    def SerializeToString(self) -> bytes:
        """As a message's."""
        return self._data

    def encoded(self, encode: Callable[[Message], bytes]) -> bytes:
        """The response in that form; `encode` should be the same function each time."""
        form = self._forms.get(encode)
        if form is None:
            form = self._forms[encode] = encode(self._kind.FromString(self._data))
        return form


_DATA = tags_of(pb.BatchQueryJobStatusResponse).data
_EMPTY = pb.BatchQueryJobStatusResponse(status=ReadyResponse.status, data=pb.BatchQueryJobStatusResponseData())
_SUCCESS = pb.BatchQueryJobStatusResponse(status=ReadyResponse.status).SerializeToString()


class BatchResponse(ReadyResponse):
    """The answer to BatchQueryJobStatus, of its serialised `jobs`; what repeats is there once.

    Neither its bytes nor its JSON exceed MAX_BATCH_BYTES.
    """

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Sequence[bytes]) -> None:
        self._jobs = jobs

    def SerializeToString(self) -> bytes:
        return _SUCCESS + part(_DATA, b"".join(self._jobs))

    def encoded(self, encode: Callable[[Message], bytes]) -> bytes:
        """In JSON a job takes more room: where that is too much, the answer says so."""
        if encode is not to_json:
            return self.SerializeToString()
        before, _, after = encode(_EMPTY).rpartition(b"[]")
        texts: dict[bytes, bytes] = {}
        size = 0
        for count, job in enumerate(self._jobs):
            text = texts.get(job)
            if text is None:
                text = texts[job] = encode(pb.BatchQueryJobStatusResponseData.FromString(job).jobs[0])
            size += len(text) + 1
            if size > MAX_BATCH_BYTES:
                return encode(too_large(count, len(self._jobs)))
        return b"".join((before, b"[", b",".join([texts[job] for job in self._jobs]), b"]", after))


def too_large(fitting: int, asked: int) -> pb.BatchQueryJobStatusResponse:
    """The answer instead of one of more than MAX_BATCH_BYTES."""
    text = (
        f"the answer is too large: of {asked:,} job_ids the first {fitting:,} fit into {MAX_BATCH_BYTES >> 20} MiB; "
        "ask for fewer at once"
    )
    return pb.BatchQueryJobStatusResponse(status=common_pb2.Status(code=Code.BATCH_QUERY_FAILED, message=text))
