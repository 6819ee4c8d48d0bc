"""Kuscia's HealthService, for every transport."""

from collections.abc import Callable

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2 as pb
from kusciajob.usecases.jobs import Caller
from kusciajob.wire.status import SUCCESS


class HealthCalls:
    """Tells whether the server serves."""

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    async def healthZ(self, request: pb.HealthRequest, caller: Caller) -> pb.HealthResponse:
        response = pb.HealthResponse()
        response.status.message = SUCCESS
        response.data.ready = self._is_serving()
        return response
