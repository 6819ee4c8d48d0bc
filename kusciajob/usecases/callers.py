"""Who calls, and what they may see and do."""

from typing import NoReturn

from msgspec import Struct

from kusciajob.model.errors import JobError, JobNotFound, NotAllowed
from kusciajob.model.status import JobSummary
from kusciajob.model.text import shown


class Caller(Struct, frozen=True):
    """Who calls: a domain, or the master, who may do everything."""

    domain: str = ""

    @property
    def name(self) -> str:
        """As it appears in texts."""
        return self.domain or "master"

    def may_see(self, job: JobSummary) -> bool:
        """Whether the caller is the master, the job's initiator or one of its parties."""
        return not self.domain or job.is_visible_to(self.domain)

    def require(self, job: JobSummary) -> None:
        """Raise NotAllowed unless the caller may see and act on the job."""
        if not self.may_see(job):
            raise self._denied(job.job_id)

    def require_initiator(self, initiator: str) -> None:
        """Raise NotAllowed unless the caller may create jobs of that initiator."""
        if self.domain and initiator != self.domain:
            self.refuse(f"create a job of initiator {shown(initiator)}: only jobs of which it is the initiator")

    def explain(self, unknown: JobNotFound) -> JobError:
        """The error for unknown jobs. A domain gets the same one as for jobs that it may not see."""
        return self._denied(*unknown.job_ids) if self.domain else unknown

    def refuse(self, deed: str) -> NoReturn:
        """Raise NotAllowed."""
        raise NotAllowed(f"domain {shown(self.domain)} may not {deed}")

    def _denied(self, *job_ids: str) -> NotAllowed:
        jobs, such = ("job", "such a job") if len(job_ids) == 1 else ("jobs", "such jobs")
        return NotAllowed(
            f"domain {shown(self.domain)} may not act on {jobs} {', '.join(map(shown, job_ids))}: "
            f"it is neither initiator nor party of {such}"
        )


MASTER = Caller()
