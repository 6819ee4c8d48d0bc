"""What a row of `kusciajob list` tells."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.cli.listing import _row

CREATED = datetime(2026, 11, 27, 12, tzinfo=UTC)


def after(**since: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(CREATED + timedelta(**since))
    return moment


def test_failed_tasks_are_not_counted_with_those_that_succeeded() -> None:
    job = pb.JobSummary(task_states={"Succeeded": 1, "Failed": 2, "Pending": 1})
    assert _row(job, is_wide=False)[2] == "1/4, 2 failed"


def test_the_time_of_a_restarted_job_has_no_time_before_the_restart() -> None:
    job = pb.JobSummary(start_time=after(), restart_time=after(hours=9), end_time=after(hours=9, seconds=5))
    assert _row(job, is_wide=False)[5] == "5 s"
