"""Which jobs a list or a watch wants."""

from msgspec import Struct

from kusciajob.model.status import JobEvent, JobPhase, JobState, JobSummary

ANY: frozenset[str] = frozenset()


class JobFilter(Struct, frozen=True):
    """All that is given must hold; what is empty or None passes every job. Equal filters select the same jobs.

    Times are seconds since the epoch; a range begins with its first value and ends before its second. `visible_to` is
    the domain for which a job must be its own, as initiator or party.
    """

    states: frozenset[JobState] = frozenset()
    initiator: str = ""
    party: str = ""
    job_ids: frozenset[str] = ANY
    job_id_prefix: str = ""
    app_image: str = ""
    custom_fields: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    created_after: float | None = None
    created_before: float | None = None
    ended_after: float | None = None
    ended_before: float | None = None
    visible_to: str = ""

    def matches(self, job: JobSummary) -> bool:
        """Whether the job passes as it is. A damaged one has no state: no filter of states or times lets it pass."""
        return self.matches_always(job) and self.matches_phase(job.status.phase)

    def passes(self, event: JobEvent) -> tuple[bool, bool]:
        """Whether the event's job passed before the change, and whether it passes after it. A new job did not."""
        raise NotImplementedError

    def matches_always(self, job: JobSummary) -> bool:
        """Whether what never changes of the job passes."""
        raise NotImplementedError

    def matches_phase(self, phase: JobPhase) -> bool:
        """Whether a job of that phase passes, as far as its phase counts."""
        raise NotImplementedError
