"""Good requests to every method, to begin with."""

from google.protobuf import json_format
from google.protobuf.message import Message

from kusciajob._gen.kuscia.proto.api.v1alpha1.common_pb2 import RequestHeader
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2, health_pb2, log_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.fuzz.raw.world import APP_IMAGE, JOBS
from tests.support.app_images import app_image_request
from tests.support.requests import job_request, task_request

_IDS = [job.job_id for job in JOBS]
_HEADER = RequestHeader(custom_headers={"domain": "bob"})
_WHOLE_TASK = pb.Task(
    app_image="any",
    alias="c",
    task_id="t",
    dependencies=["b"],
    task_input_config='{"a": 1}',
    priority=-5,
    tolerable=True,
    schedule_config=pb.ScheduleConfig(
        task_timeout_seconds=1, resource_reserved_seconds=2, resource_reallocation_interval_seconds=3
    ),
    parties=[
        pb.Party(
            domain_id="alice",
            role="client",
            resources=pb.JobResource(cpu="500m", memory="4Gi", bandwidth="1e3"),
            bandwidth_limits=[pb.BandwidthLimit(destination_id="bob", limit_kbps=2**64 - 1)],
        )
    ],
)
_COMMANDS = {
    "StopJob": pb.StopJobRequest,
    "SuspendJob": pb.SuspendJobRequest,
    "RestartJob": pb.RestartJobRequest,
    "CancelJob": pb.CancelJobRequest,
}

_WRITES = {"Create": appimage_pb2.CreateAppImageRequest, "Update": appimage_pb2.UpdateAppImageRequest}
_NAMES = {"Query": appimage_pb2.QueryAppImageRequest, "Delete": appimage_pb2.DeleteAppImageRequest}


def _app_image(kind: type[Message], name: str) -> Message:
    return json_format.ParseDict(app_image_request(name), kind())


def good_requests() -> list[tuple[str, Message]]:
    """Each with the name of its method."""
    chain = [task_request("b"), _WHOLE_TASK]
    return [
        ("CreateJob", job_request("new")),
        ("CreateJob", job_request("new", *chain, max_parallelism=2, custom_fields={"k": "v"}, header=_HEADER)),
        ("CreateJob", job_request("new", task_request("a", dependencies=["b"]), task_request("b", dependencies=["a"]))),
        ("CreateJob", job_request("new", task_request("\u00e9", domains=["\u00e9", "\U0001f600"], task_id="t"))),
        ("CreateJob", job_request("running")),
        *(("QueryJob", pb.QueryJobRequest(job_id=job_id)) for job_id in (*_IDS, "nobodys")),
        ("BatchQueryJobStatus", pb.BatchQueryJobStatusRequest(job_ids=_IDS)),
        ("BatchQueryJobStatus", pb.BatchQueryJobStatusRequest(job_ids=["running", "no", "nobodys", ""])),
        *(("DeleteJob", pb.DeleteJobRequest(job_id=job_id)) for job_id in ("running", "foreign")),
        *((name, kind(job_id=job_id, reason="why")) for name, kind in _COMMANDS.items() for job_id in _IDS),
        *(
            ("ApproveJob", pb.ApproveJobRequest(job_id=job_id, result=result, reason="why"))
            for job_id in ("awaitingapproval", "running")
            for result in ("APPROVE_RESULT_UNKNOWN", "APPROVE_RESULT_ACCEPT", "APPROVE_RESULT_REJECT")
        ),
        *(("WatchJob", pb.WatchJobRequest(timeout_seconds=seconds)) for seconds in (0, 1, -1)),
        ("QueryLog", log_pb2.QueryLogRequest(task_id="running-a", follow=True, header=_HEADER)),
        ("QueryLog", log_pb2.QueryLogRequest(task_id="failed-a", container="c", local=True, replica_idx=1)),
        ("QueryPodNode", log_pb2.QueryPodNodeRequest(task_id="running-a", domain="bob")),
        *((f"{verb}AppImage", _app_image(kind, name)) for verb, kind in _WRITES.items() for name in (APP_IMAGE, "new")),
        *((f"{verb}AppImage", kind(name=name)) for verb, kind in _NAMES.items() for name in (APP_IMAGE, "new")),
        *(
            ("BatchQueryAppImage", appimage_pb2.BatchQueryAppImageRequest(names=names))
            for names in ([APP_IMAGE], [APP_IMAGE, "new"])
        ),
        ("healthZ", health_pb2.HealthRequest(header=_HEADER)),
    ]
