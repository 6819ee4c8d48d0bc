"""One change of a job that its worker prepares: what it makes of the job, and what comes with its commit."""

from msgspec import Struct

from kusciajob.contracts import PartyKey
from kusciajob.model import failures, history, planner, transitions
from kusciajob.model.appimage import AppImage
from kusciajob.model.history import Attempt, Notes
from kusciajob.model.status import Job, JobStatus
from kusciajob.model.text import listed
from kusciajob.scheduler.supervisor import PartyReport


class Step(Struct):
    """A change under construction. No action of it is carried out before its commit."""

    job: Job
    now: float
    told: JobStatus
    """Up to which the attempts that have ended are noted."""
    faults: list[str]
    attempts: list[Attempt] = []
    has_failed_parties: bool = False
    """The server or its machine is to blame for one at least: that too is a fault."""
    plan: planner.Plan = planner.Plan()
    placed: dict[int, AppImage | None] = {}
    """Tasks that have got their addresses, with what they run."""
    ended: list[PartyKey] = []
    kept: list[PartyReport] = []
    """Reports left for the next step."""

    def settle(self) -> None:
        """Derive the job's state, and stop it when its deadline is over; note the attempts that have ended."""
        self._note_attempts()  # a retry hides how the attempt has ended
        self.job = transitions.settle(self.job, self.now)
        self.told = self.job.status
        self.job = transitions.stop_overdue(self.job, self.now)
        self._note_attempts()

    def notes(self, before: Job, fault: str) -> Notes:
        """What the change means for the job's history and attempts."""
        entries = history.entries(before.status, self.job.status, self.attempts, now=self.now, fault=fault)
        return Notes(entries, tuple(self.attempts))

    @property
    def fault(self) -> str:
        """The text of the job's ERROR event; empty for none. Made from the parties' texts, so that details fit in."""
        of_parties: list[str] = []
        if self.has_failed_parties:
            tasks = self.job.status.tasks
            # Nothing of an attempt is left in the status of a task that awaits the next one.
            again = [attempt for attempt in self.attempts if tasks[attempt.task].retry_at is not None]
            of_parties = [f"Task[{tasks[attempt.task].alias}]-{attempt.message}" for attempt in again]
            of_parties.append(failures.fault_text(tasks))
        return listed(list(dict.fromkeys(filter(None, [*self.faults, *of_parties]))), "; ")

    def _note_attempts(self) -> None:
        if self.told is not self.job.status:
            self.attempts += history.attempts(self.told, self.job.status, now=self.now)
            self.told = self.job.status
