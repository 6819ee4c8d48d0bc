"""Jobs as bytes in a file: a status in JSON, a large one compressed; a specification without its large inputs."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from kusciajob.model.job import JobSpec
from kusciajob.model.status import JobStatus

COMPRESSED_BYTES = 32 << 10
"""A status from this size on is compressed: names and texts repeat in it, and each change of the job writes it anew."""
LARGE_INPUT_CHARACTERS = 64 << 10
APART = "\0"
"""Stands in the specification for an input that is not in it, so that one that got lost is missed."""
_JSON_BEGINS = b"{"

_encode = Encoder().encode
_decode_spec = Decoder(JobSpec).decode
_decode_status = Decoder(JobStatus).decode


def pack_status(status: JobStatus) -> bytes:
    """The bytes to store."""
    data = _encode(status)
    return data if len(data) < COMPRESSED_BYTES else zlib.compress(data, 1)


def unpack_status(data: Any) -> JobStatus:
    """The status that was stored. ValueError, TypeError, MsgspecError: it is damaged."""
    return _decode_status(plain(data))


def plain(data: Any) -> Any:
    """A stored status as JSON; what is none stays as it is: whoever reads it as JSON says what is wrong with it."""
    if isinstance(data, bytes) and data[:1] != _JSON_BEGINS:
        with suppress(zlib.error):
            return zlib.decompress(data)
    return data


def pack_spec(spec: JobSpec) -> tuple[bytes, dict[int, bytes]]:
    """The specification without its large inputs, and those by the index of their task."""
    inputs = {
        index: task.task_input_config.encode()
        for index, task in enumerate(spec.tasks)
        if len(task.task_input_config) > LARGE_INPUT_CHARACTERS or task.task_input_config == APART
    }
    if inputs:
        tasks = (
            replace(task, task_input_config=APART) if index in inputs else task for index, task in enumerate(spec.tasks)
        )
        spec = replace(spec, tasks=tuple(tasks))
    return _encode(spec), inputs


def unpack_spec(data: Any, inputs: Sequence[tuple[Any, Any]] = ()) -> JobSpec:
    """The specification that was stored. ValueError, TypeError, MsgspecError, InvalidJob: it is damaged."""
    spec = _decode_spec(data)
    apart = [index for index, task in enumerate(spec.tasks) if task.task_input_config == APART]
    configs = dict(inputs)
    if sorted(configs) != apart:
        raise ValueError(f"large inputs are stored of tasks {sorted(configs)}, not of {apart}")
    if not apart:
        return spec
    tasks = list(spec.tasks)
    for index in apart:
        tasks[index] = replace(tasks[index], task_input_config=str(configs[index], "utf-8"))
    return replace(spec, tasks=tuple(tasks))
