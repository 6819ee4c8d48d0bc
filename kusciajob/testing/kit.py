"""Everything that a test controls of its server."""

import time
from datetime import UTC, datetime
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from kusciajob.api import testing as pb
from kusciajob.client.reading import Reader, find
from kusciajob.testing.control import Control, KitError
from kusciajob.testing.durations import Span, duration, seconds_of
from kusciajob.testing.faults import Faults
from kusciajob.testing.scripts import Rules, Tasks

MODES = {
    "stopped": pb.CLOCK_MODE_STOPPED,
    "auto": pb.CLOCK_MODE_AUTO,
    "machine": pb.CLOCK_MODE_MACHINE,
    "": pb.CLOCK_MODE_UNSPECIFIED,
}
LOOK_SECONDS = 0.001


class Call(Struct, frozen=True):
    """A call that the server has got. `request` is its message; `outcome` is "OK", or how it failed.

    `method` is Kuscia's name of what was called, such as "CreateJob", also over HTTP and where a client uses the RPC of
    kusciajob.v1 that does the same; `rpc` is the full name of that.
    """

    number: int
    method: str
    domain: str
    request: Any
    time: datetime
    outcome: str
    fault: int
    rpc: str


class Clock:
    """The server's time. It is stopped, or runs to the next thing that a job does whenever nothing else can happen."""

    def __init__(self, control: Control) -> None:
        self._control = control

    @property
    def now(self) -> datetime:
        return self._ask()

    def advance(
        self,
        span: Span = 0,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> datetime:
        """Let so much time pass, with all that happens in it; the time then."""
        total = seconds_of(span) + days * 86_400 + hours * 3_600 + minutes * 60 + seconds
        return self._ask(by=duration(total))

    def stop(self) -> None:
        """From now on time passes by `advance` only."""
        self._ask(mode=pb.CLOCK_MODE_STOPPED)

    def run(self) -> None:
        """From now on time passes by itself whenever nothing else can happen."""
        self._ask(mode=pb.CLOCK_MODE_AUTO)

    def follow_machine(self) -> None:
        """From now on time passes as on this machine."""
        self._ask(mode=pb.CLOCK_MODE_MACHINE)

    def _ask(self, **fields: Any) -> datetime:
        return _moment(self._control.call("AdvanceClock", pb.AdvanceClockRequest(**fields)).now)


class Kit:
    """A server that is under a test's control. All that can fail raises KitError."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._rules = Rules(control)
        self.clock = Clock(control)
        self.faults = Faults(control)

    def task(
        self,
        task: str = "",
        *,
        party: str = "",
        job: str = "",
        image: str = "",
        role: str = "",
        attempt: int = 0,
    ) -> Tasks:
        """The parties that match: patterns, of which an empty one matches all. The methods of the value say the rest.

        Without any of them such a party succeeds at once.
        """
        where = pb.Selector(task=task, domain=party, job_id=job, app_image=image, role=role, attempt=attempt)
        return Tasks(self._rules, where)

    @property
    def calls(self) -> list[Call]:
        """What was called since the last reset."""
        return [
            Call(
                each.number,
                each.method,
                each.domain,
                _unpacked(each.request),
                _moment(each.time),
                each.outcome,
                each.fault,
                each.rpc,
            )
            for each in self._control.call("Calls", pb.CallsRequest()).calls
        ]

    def watched(self, times: int = 1, patience: Span = 10) -> None:
        """Return once so many watches have been opened since the last reset. Raises KitError after so long.

        For an application that follows jobs on a thread of its own: it may not watch yet when a test begins.
        """
        deadline = time.monotonic() + seconds_of(patience)
        while (opened := len(self._control.call("Calls", pb.CallsRequest(method="WatchJob")).calls)) < times:
            if time.monotonic() > deadline:
                raise KitError(f"{opened} of {times} watches were opened within {seconds_of(patience):g} s")
            time.sleep(LOOK_SECONDS)

    def settle(self, patience: Span = 10, *, caller: Reader | None = None) -> int:
        """Return once every watcher has been sent all, and nothing can happen before time passes; the revision then.

        Watchers whose streams were cut are waited for. Those of this process that use kusciajob.client have dealt with
        all, unless it is the `caller` (None: this thread) that reads.
        """
        deadline, caller = time.monotonic() + seconds_of(patience), caller or Reader.present()
        while True:
            response = self._control.call("Settle", pb.SettleRequest(patience=duration(patience)))
            behind = [
                (reading, stream.sent)
                for stream in response.streams
                if (reading := find(stream.request_id)) and reading.taken < stream.sent and reading.can_go_on(caller)
            ]
            if not behind:
                return int(response.revision)
            # What they do about it can make more to be told: then all begins anew.
            while behind and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)
                behind = [(reading, sent) for reading, sent in behind if reading.taken < sent]
            for reading, _ in behind:
                reading.give_up()

    def reset(self, *, clock: str = "", **settings: object) -> None:
        """Everything is as at the start, with these settings: `require_approval=True`. Open streams end."""
        given = {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()
        }
        self._control.call("Reset", pb.ResetRequest(settings=given, mode=MODES[clock]))
        self._rules.forget()

    def problems(self) -> list[str]:
        """Rules that never matched, and errors that the server has logged."""
        return list(self._control.call("Verify", pb.VerifyRequest()).problems)


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _unpacked(packed: AnyMessage) -> Any:
    descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
    message = GetMessageClass(descriptor)()
    packed.Unpack(message)
    return message
