"""The calls of Kuscia's HealthService."""

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2 as pb
from kusciajob.usecases.callers import Caller
from kusciajob.wire.status import SUCCESS


class HealthCalls:
    """Answers whether the server is serving; its owner sets that."""

    def __init__(self) -> None:
        self.is_serving = False

    async def healthZ(self, request: pb.HealthRequest, caller: Caller) -> pb.HealthResponse:
        response = pb.HealthResponse()
        response.status.message = SUCCESS
        response.data.ready = self.is_serving
        return response
