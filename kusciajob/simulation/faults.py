"""The faults that a test wants, and for which calls."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from msgspec import Struct

from kusciajob.api.broken import Broken

UNAVAILABLE = "UNAVAILABLE"
PARTITION = "the network is partitioned, as a test has it"


class Fault(Struct, kw_only=True):
    """What becomes of calls: of `times` of them (0: all), after `skip` that pass. `matched` counts them.

    Delays are in seconds.
    """

    method: str = ""
    domain: str = ""
    skip: int = 0
    times: int = 0
    grpc: str = ""
    body_code: int = 0
    message: str = ""
    delay: float = 0.0
    cut: bool = False
    after_effect: bool = False
    after_messages: int = 0
    message_delay: float = 0.0
    matched: int = 0
    passed: int = 0

    def is_for(self, method: str, domain: str) -> bool:
        return fits(self.method, method) and (not self.domain or fnmatchcase(domain, self.domain))

    @property
    def ends_call(self) -> bool:
        """Whether the call has another end than its own; the end of a stream can come later."""
        return bool(self.grpc or self.body_code or self.cut)

    def end(self, method: MethodDescriptor) -> Any:
        """The answer of the call instead of its own. Raises Broken."""
        text = self.message or "a test has injected this fault"
        if self.body_code and not self.grpc and not self.cut:
            kind: type[Message] = GetMessageClass(method.output_type)
            if "status" in kind.DESCRIPTOR.fields_by_name:
                answer: Any = kind()
                answer.status.code, answer.status.message = self.body_code, text
                return answer
            raise Broken("FAILED_PRECONDITION", text, kuscia_code=self.body_code)
        raise Broken(self.grpc or UNAVAILABLE, text, cuts=self.cut, kuscia_code=self.body_code)


def fits(pattern: str, name: str) -> bool:
    """Whether a pattern matches the name of an RPC; an empty one matches all."""
    return not pattern or fnmatchcase(name, pattern)


class Faults:
    """All faults, in order: the first that is for a call counts."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.is_partitioned = False

    def set(self, faults: Sequence[Fault], *, append: bool) -> None:
        self._faults = [*(self._faults if append else ()), *faults]

    def clear(self) -> None:
        self._faults.clear()
        self.is_partitioned = False

    @property
    def matched(self) -> list[int]:
        """How many calls each was for."""
        return [fault.matched for fault in self._faults]

    def find(self, method: str, domain: str) -> tuple[int, Fault | None]:
        """The fault for a call and its number from 1 on; (0, None) for one that is to pass."""
        for number, fault in enumerate(self._faults, start=1):
            if not fault.is_for(method, domain) or 0 < fault.times <= fault.matched:
                continue
            if fault.passed < fault.skip:
                fault.passed += 1
                continue
            fault.matched += 1
            return number, fault
        return 0, None
