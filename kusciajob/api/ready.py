"""Responses that are put together from bytes, or given again as they were."""

from collections.abc import Callable

from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob.wire.status import SUCCESS


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
