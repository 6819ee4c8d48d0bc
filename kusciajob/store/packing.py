"""Jobs as bytes in a file: a status in JSON, a large one compressed; a specification without its large inputs."""

import zlib
from collections.abc import Sequence

from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from kusciajob.model.job import JobSpec
from kusciajob.model.status import JobStatus

COMPRESSED_BYTES = 32 << 10
"""A status from this size on is compressed: names and texts repeat in it, and each change of the job writes it anew."""
LARGE_INPUT_CHARACTERS = 64 << 10
_JSON_BEGINS = b"{"

_encode = Encoder().encode
_decode_spec = Decoder(JobSpec).decode
_decode_status = Decoder(JobStatus).decode


def pack_status(status: JobStatus) -> bytes:
    """The bytes to store."""
    data = _encode(status)
    return data if len(data) < COMPRESSED_BYTES else zlib.compress(data, 1)


def unpack_status(data: bytes) -> JobStatus:
    """The status that was stored."""
    return _decode_status(plain(data))


def plain(data: bytes) -> bytes:
    """A stored status as JSON."""
    if data[:1] == _JSON_BEGINS:
        return data
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data  # no status at all: whoever reads it as JSON says what is wrong with it


def pack_spec(spec: JobSpec) -> tuple[bytes, dict[int, bytes]]:
    """The specification without its large inputs, and those by the index of their task."""
    inputs = {
        index: task.task_input_config.encode()
        for index, task in enumerate(spec.tasks)
        if len(task.task_input_config) > LARGE_INPUT_CHARACTERS
    }
    if inputs:
        tasks = (
            replace(task, task_input_config="") if index in inputs else task for index, task in enumerate(spec.tasks)
        )
        spec = replace(spec, tasks=tuple(tasks))
    return _encode(spec), inputs


def unpack_spec(data: bytes, inputs: Sequence[tuple[int, bytes]] = ()) -> JobSpec:
    """The specification that was stored."""
    spec = _decode_spec(data)
    if not inputs:
        return spec
    tasks = list(spec.tasks)
    for index, config in inputs:
        tasks[index] = replace(tasks[index], task_input_config=config.decode())
    return replace(spec, tasks=tuple(tasks))
