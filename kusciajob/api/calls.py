"""The unary calls of Kuscia's job API: decode, call the service, encode. Every transport serves them from here."""

from collections.abc import AsyncIterator

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import log_pb2 as log_pb
from kusciajob.api.ready import ReadyResponse
from kusciajob.model.errors import InvalidJob
from kusciajob.model.status import Job, JobSummary
from kusciajob.model.transitions import Operation
from kusciajob.output import TaskOutput
from kusciajob.recent import Recent
from kusciajob.service import Caller, JobService
from kusciajob.wire import codec
from kusciajob.wire.job_status import encode_summary, part, tags_of
from kusciajob.wire.status import SUCCESS, Answer, Code

KEPT_RESPONSES_BYTES = 16 << 20
KEPT_STATUSES_BYTES = 8 << 20
KEPT_BYTES = 256
"""What something kept takes beside its bytes, roughly."""
FORMS = 3
"""A kept response may come to be there in JSON as well, which is about twice as long."""

_DATA = tags_of(pb.BatchQueryJobStatusResponse).data
_JOBS = tags_of(pb.BatchQueryJobStatusResponseData).jobs
_SUCCESS = pb.BatchQueryJobStatusResponse(status=ReadyResponse.status).SerializeToString()


class JobCalls:
    """One coroutine per RPC, of its name. None raises: the outcome is in the response's status.

    What is told of a job is kept in bytes for who asks again: a job of one number and revision never changes.
    """

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._responses: Recent[tuple[int, int], ReadyResponse] = Recent(KEPT_RESPONSES_BYTES)
        self._statuses: Recent[tuple[int, int], bytes] = Recent(KEPT_STATUSES_BYTES)

    async def CreateJob(self, request: pb.CreateJobRequest, caller: Caller) -> pb.CreateJobResponse:
        response = pb.CreateJobResponse()
        with Answer(response.status, Code.CREATE_FAILED):
            spec = codec.decode_spec(request)
            response.data.job_id = await self._service.create(spec, caller)
        return response

    async def QueryJob(self, request: pb.QueryJobRequest, caller: Caller) -> pb.QueryJobResponse | ReadyResponse:
        response = pb.QueryJobResponse()
        with Answer(response.status, Code.QUERY_FAILED):
            job = await self._service.query(request.job_id, caller)
            return self._responses.get((job.number, job.revision)) or self._describe(job)
        return response

    async def BatchQueryJobStatus(
        self, request: pb.BatchQueryJobStatusRequest, caller: Caller
    ) -> pb.BatchQueryJobStatusResponse | ReadyResponse:
        response = pb.BatchQueryJobStatusResponse()
        with Answer(response.status, Code.BATCH_QUERY_FAILED):
            jobs = await self._service.summaries(request.job_ids, caller)
            data = b"".join([self._statuses.get((job.number, job.revision)) or self._summarize(job) for job in jobs])
            return ReadyResponse(pb.BatchQueryJobStatusResponse, _SUCCESS + part(_DATA, data))
        return response

    async def DeleteJob(self, request: pb.DeleteJobRequest, caller: Caller) -> pb.DeleteJobResponse:
        response = pb.DeleteJobResponse()
        with Answer(response.status, Code.DELETE_FAILED):
            await self._service.delete(request.job_id, caller)
            response.data.job_id = request.job_id
        return response

    async def StopJob(self, request: pb.StopJobRequest, caller: Caller) -> pb.StopJobResponse:
        response = pb.StopJobResponse()
        with Answer(response.status, Code.STOP_FAILED):
            response.data.job_id = await self._command(Operation.STOP, request, caller)
        return response

    async def SuspendJob(self, request: pb.SuspendJobRequest, caller: Caller) -> pb.SuspendJobResponse:
        response = pb.SuspendJobResponse()
        with Answer(response.status, Code.SUSPEND_FAILED):
            response.data.job_id = await self._command(Operation.SUSPEND, request, caller)
        return response

    async def RestartJob(self, request: pb.RestartJobRequest, caller: Caller) -> pb.RestartJobResponse:
        response = pb.RestartJobResponse()
        with Answer(response.status, Code.RESTART_FAILED):
            response.data.job_id = await self._command(Operation.RESTART, request, caller)
        return response

    async def CancelJob(self, request: pb.CancelJobRequest, caller: Caller) -> pb.CancelJobResponse:
        response = pb.CancelJobResponse()
        with Answer(response.status, Code.CANCEL_FAILED):
            response.data.job_id = await self._command(Operation.CANCEL, request, caller)
        return response

    async def ApproveJob(self, request: pb.ApproveJobRequest, caller: Caller) -> pb.ApproveJobResponse:
        response = pb.ApproveJobResponse()
        with Answer(response.status, Code.APPROVE_FAILED):
            if request.result not in (pb.APPROVE_RESULT_ACCEPT, pb.APPROVE_RESULT_REJECT):
                raise InvalidJob(
                    f"result {request.result} is not valid: APPROVE_RESULT_ACCEPT (1) or APPROVE_RESULT_REJECT (2)"
                )
            await self._service.approve(
                request.job_id,
                accepted=request.result == pb.APPROVE_RESULT_ACCEPT,
                reason=request.reason,
                caller=caller,
            )
            response.data.job_id = request.job_id
        return response

    async def _command(
        self,
        operation: Operation,
        request: pb.StopJobRequest | pb.SuspendJobRequest | pb.RestartJobRequest | pb.CancelJobRequest,
        caller: Caller,
    ) -> str:
        await self._service.command(operation, request.job_id, request.reason, caller)
        return request.job_id

    def _describe(self, job: Job) -> ReadyResponse:
        message = pb.QueryJobResponse(status=ReadyResponse.status)
        codec.encode_job(job, message.data)
        data = message.SerializeToString()
        response = ReadyResponse(pb.QueryJobResponse, data)
        self._responses.put((job.number, job.revision), response, weight=FORMS * len(data) + KEPT_BYTES)
        return response

    def _summarize(self, job: JobSummary) -> bytes:
        data = part(_JOBS, encode_summary(job))
        self._statuses.put((job.number, job.revision), data, weight=len(data) + KEPT_BYTES)
        return data


class LogCalls:
    """The calls of Kuscia's LogService. The party is chosen by the custom header `domain`; see TaskOutput."""

    def __init__(self, output: TaskOutput) -> None:
        self._output = output

    async def QueryLog(self, request: log_pb.QueryLogRequest, caller: Caller) -> AsyncIterator[log_pb.QueryLogResponse]:
        """One response per piece of text; an error comes as the last response's status."""
        response = log_pb.QueryLogResponse()
        with Answer(response.status, Code.QUERY_LOG_FAILED):
            async for text in self._output.read(
                request.task_id,
                domain=request.header.custom_headers.get("domain", ""),
                replica=request.replica_idx,
                caller=caller,
                follow=request.follow,
            ):
                piece = log_pb.QueryLogResponse(log=text)
                piece.status.message = SUCCESS
                yield piece
            return
        yield response

    async def QueryPodNode(self, request: log_pb.QueryPodNodeRequest, caller: Caller) -> log_pb.QueryPodNodeResponse:
        response = log_pb.QueryPodNodeResponse()
        with Answer(response.status, Code.QUERY_NODE_FAILED):
            node = await self._output.node(
                request.task_id, domain=request.domain, replica=request.replica_idx, caller=caller
            )
            response.node_name, response.node_ip = node.name, node.ip
        return response
