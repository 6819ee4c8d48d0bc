"""Assertions whose failures tell what happened to the job."""

from kusciajob.client import Client, ClientError, JobStatus


def assert_job(client: Client, job_id: str, *, state: str = "Succeeded", err_msg: str = "") -> JobStatus:
    """The job has that state, and its err_msg has that text; its status. AssertionError with the job's history."""
    job = client.job(job_id)
    try:
        status = job.status()
    except ClientError as error:
        raise AssertionError(f"job {job_id} is not {state}: {error}") from None
    if status.state == state and err_msg in status.err_msg:
        return status
    wanted = f"{state}, with {err_msg!r}" if err_msg else state
    lines = [f"job {job_id} is {status.state}, not {wanted}", f"  err_msg: {status.err_msg or '(none)'}"]
    for entry in job.history():
        parts = [entry.event, entry.task, entry.domain, entry.reason]
        at = f"{entry.time:%Y-%m-%d %H:%M:%S}" if entry.time else "?"
        lines.append(f"  {at} {' '.join(part for part in parts if part)}")
    raise AssertionError("\n".join(lines))
