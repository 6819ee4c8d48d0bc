"""Jobs whose record cannot be read: the error, and the status that stands in for the lost one."""

from kusciajob.model.errors import JobError
from kusciajob.model.status import JobStatus, JobSummary, Stage, StageKind, Unknown
from kusciajob.model.text import listed, shown


class JobDamaged(JobError):
    """The record of a job cannot be read. `jobs` has what is known of it, and of others in the same request."""

    def __init__(self, *jobs: JobSummary, cause: str = "") -> None:
        self.jobs = jobs
        causes = [f"job {shown(job.job_id)} is {f'damaged: {cause}' if cause else job.status.message}" for job in jobs]
        super().__init__(
            f"{listed(causes, '; ')}: stop the server and run `kusciajob doctor --repair` "
            "to set it aside, or delete the job"
        )


def damaged_status(cause: str) -> JobStatus:
    """A status in place of one that cannot be read; its message names the cause."""
    return JobStatus(Unknown(), 0.0, (), Stage(StageKind.CREATE), message=f"damaged: {cause}")
