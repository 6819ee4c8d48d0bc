"""Responses that are built from bytes which are encoded already."""

from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.wire.json import to_json
from kusciajob.wire.nested import nested, tag_of
from kusciajob.wire.status import SUCCESS, Code

MAX_BATCH_BYTES = 64 << 20


class EncodedResponse:
    """A successful response as bytes. `on_json` is called once its JSON is made, which makes it heavier."""

    __slots__ = ("_data", "_json", "_kind", "_on_json")
    status = common_pb2.Status(message=SUCCESS)

    def __init__(self, kind: type[Message], data: bytes, on_json: Callable[["EncodedResponse"], None]) -> None:
        self._kind = kind
        self._data = data
        self._json = b""
        self._on_json = on_json

    def __len__(self) -> int:
        """The bytes of all forms that exist."""
        return len(self._data) + len(self._json)

    def SerializeToString(self) -> bytes:
        """The bytes, as of a protobuf message."""
        return self._data

    def to_json(self) -> bytes:
        """The response in JSON, made once."""
        if not self._json:
            self._json = to_json(self._kind.FromString(self._data))
            self._on_json(self)
        return self._json


_EMPTY = pb.BatchQueryJobStatusResponse(status=EncodedResponse.status, data=pb.BatchQueryJobStatusResponseData())

_SUCCESS = pb.BatchQueryJobStatusResponse(status=EncodedResponse.status).SerializeToString()
_DATA = tag_of(pb.BatchQueryJobStatusResponse, "data")


class BatchResponse(EncodedResponse):
    """The answer to BatchQueryJobStatus, from its serialised `jobs`.

    Neither its bytes nor its JSON exceed MAX_BATCH_BYTES.
    """

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Sequence[bytes]) -> None:
        self._jobs = jobs

    def SerializeToString(self) -> bytes:
        return _SUCCESS + nested(_DATA, b"".join(self._jobs))

    def to_json(self) -> bytes:
        """The JSON. It is longer than the bytes; if it is too long, the answer is that error."""
        before, _, after = to_json(_EMPTY).rpartition(b"[]")
        texts: dict[bytes, bytes] = {}
        size = 0
        for count, job in enumerate(self._jobs):
            text = texts.get(job)
            if text is None:
                text = texts[job] = to_json(pb.BatchQueryJobStatusResponseData.FromString(job).jobs[0])
            size += len(text) + 1
            if size > MAX_BATCH_BYTES:
                return to_json(too_large(count, len(self._jobs)))
        return b"".join((before, b"[", b",".join([texts[job] for job in self._jobs]), b"]", after))


def too_large(fitting: int, asked: int) -> pb.BatchQueryJobStatusResponse:
    """The error in place of an answer of more than MAX_BATCH_BYTES."""
    text = (
        f"the answer is too large: of {asked:,} job_ids the first {fitting:,} fit into {MAX_BATCH_BYTES >> 20} MiB; "
        "ask for fewer at once"
    )
    return pb.BatchQueryJobStatusResponse(status=common_pb2.Status(code=Code.BATCH_QUERY_FAILED, message=text))
