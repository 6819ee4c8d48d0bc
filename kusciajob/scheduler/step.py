"""One change of a job that its worker prepares: what it makes of the job, and what comes with its commit."""

from msgspec import Struct

from kusciajob.contracts import PartyKey
from kusciajob.model import failures, history, planner, transitions
from kusciajob.model.appimage import AppImage
from kusciajob.model.history import Attempt, HistoryEntry, Notes
from kusciajob.model.status import Job, JobStatus
from kusciajob.model.text import listed
from kusciajob.scheduler.supervisor import PartyReport


class Step(Struct):
    """A change under construction. No action of it is carried out before its commit."""

    shown: JobStatus
    """What watchers have been told, or will be before `job`."""
    job: Job
    now: float
    told: JobStatus
    """Up to which the attempts that have ended are noted."""
    faults: list[str]
    passed: list[JobStatus] = []
    """What watchers are told on the way to `job`, by the same commit."""
    entries: list[HistoryEntry] = []
    attempts: list[Attempt] = []
    _noted: int = 0
    """So many of the attempts are in the entries."""
    has_failed_parties: bool = False
    """The server or its machine is to blame for one at least: that too is a fault."""
    plan: planner.Plan = planner.Plan()
    placed: dict[int, AppImage | None] = {}
    """Tasks that have got their addresses, with what they run."""
    tried: set[int] = set()
    """Tasks that have got them or were refused them, each once: a new text each time must not keep us here."""
    ended: list[PartyKey] = []
    kept: list[PartyReport] = []
    """Reports that are left, because watchers are to be told something first."""

    def settle(self) -> None:
        """Derive the job's state, and stop it when its deadline is over; note the attempts that have ended."""
        self._note_attempts()  # a retry hides how the attempt has ended
        self.job = transitions.settle(self.job, self.now)
        self.told = self.job.status
        self.job = transitions.stop_overdue(self.job, self.now)
        self._note_attempts()

    def pass_on(self) -> None:
        """Watchers are to be told of the job as it is now, before it goes on."""
        self._note_entries()
        self.passed.append(self.job.status)

    def notes(self, fault: str) -> Notes:
        """What the change means for the job's history and attempts."""
        self._note_entries(fault)
        return Notes(tuple(self.entries), tuple(self.attempts))

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

    def _note_entries(self, fault: str = "") -> None:
        ended = self.attempts[self._noted :]
        self.entries += history.entries(self.shown, self.job.status, ended, now=self.now, fault=fault)
        self.shown, self._noted = self.job.status, len(self.attempts)

    def _note_attempts(self) -> None:
        if self.told is not self.job.status:
            self.attempts += history.attempts(self.told, self.job.status, now=self.now)
            self.told = self.job.status
