"""Which jobs a list or a watch wants."""

from msgspec import Struct

from kusciajob.model.status import EventType, JobEvent, JobPhase, JobState, JobSummary

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
        """Whether the event's job passed before the change, and whether it passes after it.

        A new job did not pass before, and a deleted one does not pass afterwards.
        """
        if not self.matches_always(event.job):
            return False, False
        phase = event.job.status.phase
        before = event.type is not EventType.ADDED and self.matches_phase(
            phase if event.before is None else event.before
        )
        return before, event.type is not EventType.DELETED and self.matches_phase(phase)

    def matches_always(self, job: JobSummary) -> bool:
        """Whether what never changes of the job passes."""
        if self.initiator and job.initiator != self.initiator:
            return False
        if self.job_ids and job.job_id not in self.job_ids:
            return False
        if self.job_id_prefix and not job.job_id.startswith(self.job_id_prefix):
            return False
        if self.party and not _has_party(job, self.party):
            return False
        if self.visible_to and self.visible_to != job.initiator and not _has_party(job, self.visible_to):
            return False
        if self.app_image and self.app_image not in job.traits.app_images:
            return False
        for wanted, told in ((self.custom_fields, job.traits.custom_fields), (self.labels, job.traits.labels)):
            for key, value in wanted:
                if told.get(key) != value:
                    return False
        if self.created_after is None and self.created_before is None:
            return True
        return not job.status.is_damaged and _is_within(
            job.status.created_at, since=self.created_after, until=self.created_before
        )

    def matches_phase(self, phase: JobPhase) -> bool:
        """Whether a job of that phase passes, as far as its phase counts."""
        if self.states and phase.state not in self.states:
            return False
        if self.ended_after is None and self.ended_before is None:
            return True
        return phase.ended_at is not None and _is_within(
            phase.ended_at, since=self.ended_after, until=self.ended_before
        )


def _has_party(job: JobSummary, domain: str) -> bool:
    for task in job.status.tasks:
        for party in task.parties:
            if party.domain_id == domain:
                return True
    return False


def _is_within(at: float, *, since: float | None, until: float | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)
