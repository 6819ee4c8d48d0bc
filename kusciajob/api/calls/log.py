"""The calls of Kuscia's LogService."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2 as pb
from kusciajob.api.routes import DOMAIN_HEADER
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.logs import TaskOutput
from kusciajob.wire.status import SUCCESS, Answer, Code


class LogCalls:
    """One method per RPC, of its name. None raises: the outcome is in the response's status.

    The party is chosen by the custom header `domain` (DOMAIN_HEADER)."""

    def __init__(self, output: TaskOutput) -> None:
        self._output = output

    async def QueryLog(
        self, request: pb.QueryLogRequest, caller: Caller
    ) -> AsyncGenerator[Sequence[pb.QueryLogResponse], None]:
        """First an empty batch, then one response per piece of text. An error is the last response's status."""
        yield ()
        response = pb.QueryLogResponse()
        with Answer(response.status, Code.QUERY_LOG_FAILED):
            reading = self._output.read(
                request.task_id,
                domain=request.header.custom_headers.get(DOMAIN_HEADER, ""),
                replica=request.replica_idx,
                caller=caller,
                follow=request.follow,
                container=request.container,
            )
            async with aclosing(reading) as texts:
                async for text in texts:
                    piece = pb.QueryLogResponse(log=text)
                    piece.status.message = SUCCESS
                    yield (piece,)
            return
        yield (response,)

    async def QueryPodNode(self, request: pb.QueryPodNodeRequest, caller: Caller) -> pb.QueryPodNodeResponse:
        response = pb.QueryPodNodeResponse()
        with Answer(response.status, Code.QUERY_NODE_FAILED):
            node = await self._output.node(
                request.task_id, domain=request.domain, replica=request.replica_idx, caller=caller
            )
            response.node_name, response.node_ip = node.name, node.ip
        return response
