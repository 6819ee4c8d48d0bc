"""Decodes requests. Big ones are decoded on a thread, one after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from google.protobuf.message import Message

from kusciajob.wire.bounds import check_protobuf

BIG_BYTES = 256 * 1024

_Message = TypeVar("_Message", bound=Message)

_beside = ThreadPoolExecutor(1, thread_name_prefix="decoder")


def parse_protobuf(data: bytes, kind: type[_Message]) -> _Message:
    """The message. Raises DecodeError, TooManyElements."""
    check_protobuf(data, kind.DESCRIPTOR)
    return kind.FromString(data)


async def decode_beside(
    parse: Callable[[bytes, type[_Message]], _Message], data: bytes, kind: type[_Message]
) -> _Message:
    """The result of `parse` for more than BIG_BYTES, made on a thread: calls and streams go on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_beside, parse, data, kind)
