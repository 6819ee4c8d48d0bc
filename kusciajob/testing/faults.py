"""What a test breaks on the wire."""

from collections.abc import Iterator
from contextlib import contextmanager

from kusciajob.api import testing as pb
from kusciajob.testing.control import Control
from kusciajob.testing.durations import Span, duration

WATCHES = "Watch*"


class Faults:
    """Methods are patterns for the names of RPCs, such as "CreateJob" or "Watch*". Times 0: always."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def answer(
        self,
        method: str,
        *,
        grpc: str = "",
        code: int = 0,
        message: str = "",
        times: int = 1,
        skip: int = 0,
        domain: str = "",
        after_effect: bool = False,
    ) -> None:
        """The call ends with that status of gRPC, or that code in the answer's body.

        `after_effect`: it is served, and only its answer is lost.
        """
        self._add(
            pb.Fault(
                method=method,
                grpc=grpc,
                body_code=code,
                message=message,
                times=times,
                skip=skip,
                domain=domain,
                after_effect=after_effect,
            )
        )

    def lose_answer(self, method: str, *, times: int = 1) -> None:
        """The call takes effect, and its connection is cut instead of an answer."""
        self._add(pb.Fault(method=method, cut=True, after_effect=True, times=times))

    def cut(self, method: str, *, times: int = 1) -> None:
        """The connection is cut before the call takes effect."""
        self._add(pb.Fault(method=method, cut=True, times=times))

    def delay(self, method: str, by: Span, *, times: int = 1) -> None:
        """The call is served so much later."""
        self._add(pb.Fault(method=method, delay=duration(by), times=times))

    def cut_after(self, messages: int, method: str = WATCHES, *, times: int = 1) -> None:
        """The stream ends after so many messages."""
        self._add(pb.Fault(method=method, after_messages=messages, times=times))

    def slow(self, by: Span, method: str = WATCHES, *, times: int = 0) -> None:
        """The stream waits so long before each message."""
        self._add(pb.Fault(method=method, message_delay=duration(by), times=times))

    def cut_watches(self) -> int:
        """All open watches end now; how many there were."""
        return self._inject(pb.InjectFaultsRequest(append=True, cut_streams=WATCHES)).cut

    @contextmanager
    def store_down(self) -> Iterator[None]:
        """Inside the block everything that asks the store fails."""
        self._inject(pb.InjectFaultsRequest(append=True, store_down=True))
        try:
            yield
        finally:
            self._inject(pb.InjectFaultsRequest(append=True, store_down=False))

    @contextmanager
    def partition(self) -> Iterator[None]:
        """Inside the block every connection on which something is called is cut."""
        self._inject(pb.InjectFaultsRequest(append=True, partitioned=True))
        try:
            yield
        finally:
            self._inject(pb.InjectFaultsRequest(append=True, partitioned=False))

    def clear(self) -> None:
        """No faults from now on."""
        self._inject(pb.InjectFaultsRequest())

    @property
    def matched(self) -> list[int]:
        """How many calls each fault was for, in the order in which they were injected."""
        return list(self._inject(pb.InjectFaultsRequest(append=True)).matched)

    def _add(self, fault: pb.Fault) -> None:
        self._inject(pb.InjectFaultsRequest(faults=[fault], append=True))

    def _inject(self, request: pb.InjectFaultsRequest) -> pb.InjectFaultsResponse:
        response: pb.InjectFaultsResponse = self._control.call("InjectFaults", request)
        return response
