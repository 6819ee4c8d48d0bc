"""The calls of kusciajob.testing.v1."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor

from kusciajob._gen.kusciajob.testing.v1 import control_pb2 as pb
from kusciajob.api.calls.health import HealthCalls
from kusciajob.simulation import messages
from kusciajob.simulation.faults import fits
from kusciajob.simulation.lab import Lab
from kusciajob.usecases.callers import Caller
from kusciajob.wire.v1.summaries import timestamp

SERVICE = pb.DESCRIPTOR.services_by_name["ControlService"]
PATIENCE_SECONDS = 10.0

_Response = TypeVar("_Response")


class ControlCalls:
    """Serves ControlService. Raises InvalidJob for what cannot be meant, JobError for what is not possible now."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def of(self, method: MethodDescriptor) -> Callable[[Any, Caller], Awaitable[Any]]:
        """What serves an RPC, for the master only."""
        call: Callable[[Any], Awaitable[Any]] = getattr(self, method.name)

        async def serve(request: Any, caller: Caller) -> Any:
            if caller.domain:
                caller.refuse("control the server of a test: only the master may")
            return await call(request)

        return serve

    async def SetScripts(self, request: pb.SetScriptsRequest) -> pb.SetScriptsResponse:
        self._lab.rules.set(messages.rules_of(request.rules), append=request.append)
        return pb.SetScriptsResponse()

    async def Release(self, request: pb.ReleaseRequest) -> pb.ReleaseResponse:
        await self._lab.until_idle(PATIENCE_SECONDS)
        return pb.ReleaseResponse(released=self._lab.release(messages.selector_of(request.where)))

    async def AdvanceClock(self, request: pb.AdvanceClockRequest) -> pb.AdvanceClockResponse:
        seconds = messages.seconds_in("by", request.by)
        if request.mode:
            self._lab.clock.set_mode(messages.MODES[request.mode])
        if seconds:
            await self._lab.advance(seconds)
        return pb.AdvanceClockResponse(now=timestamp(self._lab.clock.now()))

    async def AwaitIdle(self, request: pb.AwaitIdleRequest) -> pb.AwaitIdleResponse:
        patience = messages.seconds_in("patience", request.patience) or PATIENCE_SECONDS
        wanted = messages.selector_of(request.held) if request.HasField("held") else None
        held = await self._lab.until_held(wanted, patience)
        return pb.AwaitIdleResponse(
            now=timestamp(self._lab.clock.now()),
            held=[
                pb.HeldParty(
                    job_id=party.spec.job_id,
                    task=party.task.alias,
                    domain=party.party.domain_id,
                    role=party.party.role,
                    attempt=party.key.attempt,
                )
                for party in held
            ],
        )

    async def InjectFaults(self, request: pb.InjectFaultsRequest) -> pb.InjectFaultsResponse:
        lab, faults = self._lab, self._lab.traffic.faults
        faults.set(messages.faults_of(request.faults, lab.has_method), append=request.append)
        if request.HasField("store_down"):
            lab.set_store_down(is_down=request.store_down)
        cut = lab.traffic.cut_streams(request.cut_streams) if request.cut_streams else 0
        if request.HasField("partitioned"):
            faults.is_partitioned = request.partitioned
            cut += lab.traffic.cut_streams("", cuts=True) if request.partitioned else 0
        return pb.InjectFaultsResponse(matched=faults.matched, cut=cut)

    async def Calls(self, request: pb.CallsRequest) -> pb.CallsResponse:
        chosen = (
            call
            for call in self._lab.traffic.calls
            if call.number > request.after and fits(request.method, call.rpc.name)
        )
        return pb.CallsResponse(calls=[messages.encode_call(call) for call in chosen])

    async def Settle(self, request: pb.SettleRequest) -> pb.SettleResponse:
        await self._lab.until_settled(messages.seconds_in("patience", request.patience) or PATIENCE_SECONDS)
        streams = [pb.OpenStream(request_id=each.request_id, sent=each.sent) for each in self._lab.traffic.streams]
        now = timestamp(self._lab.clock.now())
        return pb.SettleResponse(now=now, revision=self._lab.core.hub.head, streams=streams)

    async def Verify(self, request: pb.VerifyRequest) -> pb.VerifyResponse:
        return pb.VerifyResponse(problems=self._lab.problems())

    async def Reset(self, request: pb.ResetRequest) -> pb.ResetResponse:
        mode = messages.MODES[request.mode] if request.mode else None
        await self._lab.reset(request.settings, mode)
        return pb.ResetResponse(now=timestamp(self._lab.clock.now()))


class TestedCalls:
    """What the edges of such a server serve: the control calls as they are, all others through the traffic."""

    __test__ = False

    def __init__(self, lab: Lab, health: HealthCalls) -> None:
        self._lab = lab
        self._control = ControlCalls(lab)
        self.HealthService = health
        self.more = (SERVICE,)

    def of(self, method: MethodDescriptor) -> object:
        """See Calls."""
        if method.containing_service is SERVICE:
            return self._control.of(method)
        return self._lab.traffic.wrap(method) if self._lab.serves(method) else None
