"""Decides which task gets slots and ports, and which tasks wait for them."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice

from msgspec import Struct

from kusciajob.contracts import Clock, NoCapacity, PartyKey, StartFailed
from kusciajob.model import planner
from kusciajob.model.status import ACTIVE, Job, Unstarted
from kusciajob.scheduler.slots import SLOTS, Need, SlotLimits, Slots, total

LOOKS = 16
"""How many tasks are looked at in vain, or are woken to ask the runtime again, because something has ended."""
RETRY_SECONDS = 1.0
"""When the others are looked at: nobody tells when a program that is not ours lets go of a port."""


class _Claim(Struct, eq=False):
    """What one attempt of a task needs. It waits in line, or the runtime has put it off, or it has what it needs."""

    job: int
    task: int
    attempt: int
    order: tuple[int, int]
    """Lower goes first: higher priority, then longer wait."""
    needs: dict[int, Need]
    """By party, until it has ended."""
    need: Need
    """Of all its parties."""
    wake: Callable[[], None]
    is_granted: bool = False
    awaits: str = ""
    """The resource that it waits for, while it is in line."""


class WaitingRoom:
    """Gives each task the slots and ports of all its parties at once, and takes them back party by party.

    Tasks are served by priority, then by age. Free slots are gathered for the first in line and not given to a later
    task. So the first waits at most until the parties have ended that ran when it became the first.

    A task that lacks slots of its domain, or ports, keeps as much of these as it needs from later tasks, but no
    other slots: the parties of its domain may run long, and other domains should not wait for them. So it waits at most
    until those parties of its domains (those that have ports) have ended that ran when it became the first, and then
    for slots as above. A task that the runtime refuses keeps its place in line and nothing else.
    """

    def __init__(self, limits: SlotLimits, clock: Clock) -> None:
        self._slots = Slots(limits)
        self._clock = clock
        self._tickets = count()
        self._claims: dict[int, dict[int, _Claim]] = {}
        """By job number and index of the task."""
        self._waiting: dict[str, list[_Claim]] = {}
        """In line, by the resource that is waited for."""
        self._needing: dict[str, list[_Claim]] = {}
        """In line, whatever they wait for, by each resource that they need; SLOTS are left out."""
        self._refused: dict[_Claim, None] = {}
        """Put off by the runtime; who asked it longest ago comes first."""
        self._unfinished: dict[str, None] = {}
        """Resources at whose line not all was looked at."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many parties have a slot."""
        return self._slots.taken(SLOTS)

    @property
    def taken_by_domains(self) -> dict[str, int]:
        """How many of them each domain has, where these are limited."""
        return self._slots.taken_by_domains()

    @property
    def occupants(self) -> int:
        """How many jobs have a task that waits."""
        return sum(any(not claim.is_granted for claim in claims.values()) for claims in self._claims.values())

    def recover(self, jobs: Iterable[Job]) -> None:
        """After a restart of the server: running parties keep what they have, waiting tasks line up in that order."""
        waiting: list[tuple[float, int, int, Job]] = []
        for job in jobs:
            for index, task in enumerate(job.status.tasks):
                if isinstance(task.phase, Unstarted) and planner.is_unplaced(task):
                    waiting.append((task.phase.since, job.number, index, job))
                elif task.state in ACTIVE:
                    ports = [len(party.endpoints) for party in task.parties]
                    self._grant(self._new(job, index, self._needs(job, index, ports)))
                    gone = (at for at, party in enumerate(task.parties) if party.state not in ACTIVE)
                    self.release([PartyKey(job.number, index, task.attempt, at) for at in gone])
        for _, _, index, job in sorted(waiting, key=lambda entry: entry[:3]):
            # The task's worker will say how many ports it needs.
            ports = [0] * len(job.status.tasks[index].parties)
            self._enter(self._new(job, index, self._needs(job, index, ports)))

    def claim(self, job: Job, index: int, *, ports: Sequence[int], wake: Callable[[], None]) -> None:
        """Take what an admitted task needs, with that many ports for each party, until it is released.

        Raises NoCapacity if something is not free. Then the task is in line, and its job is woken to claim again when
        the task has everything, or waits for something else. Raises StartFailed if waiting would never help.
        """
        claim = self._claims.get(job.number, {}).get(index)
        if claim is not None and claim.attempt != job.status.tasks[index].attempt:
            self._drop(claim)
            claim = None
        needs = self._needs(job, index, ports)
        if claim is None:
            claim = self._new(job, index, needs)
        claim.wake = wake
        if not claim.is_granted:
            self._stand_in_line(claim, needs)
        if not claim.is_granted:
            raise NoCapacity(self._slots.reason(claim.awaits, claim.need[claim.awaits]))

    def put_off(self, job: int, index: int) -> None:
        """The runtime has refused a task that has what it needs. It gives all back, and claims again when woken."""
        claim = self._claims[job][index]
        self._refused[claim] = None
        self._hand_out(self._take_back(claim))

    def release(self, keys: Iterable[PartyKey]) -> None:
        """Free what these parties have; they are gone. Parties that have nothing may be among them."""
        freed: dict[str, None] = {}
        for key in keys:
            claim = self._claims.get(key.job, {}).get(key.task)
            if claim is not None and claim.attempt == key.attempt and claim.is_granted and key.party in claim.needs:
                need = claim.needs.pop(key.party)
                self._slots.free(need)
                freed |= dict.fromkeys(need)
                if not claim.needs:
                    self._forget(claim)
        if freed:
            self._hand_out(freed)
            self._wake_refused()

    def keep_active(self, job: Job) -> None:
        """Give up the claims of all tasks of the job that are not (or no longer) being started or running."""
        for claim in list(self._claims.get(job.number, {}).values()):
            task = job.status.tasks[claim.task]
            if task.state not in ACTIVE or task.attempt != claim.attempt:
                self._drop(claim)

    def give_up(self, job: int, index: int) -> None:
        """A task no longer waits for slots or ports. A task without a claim may call it, too."""
        claim = self._claims.get(job, {}).get(index)
        if claim is not None:
            self._drop(claim)

    def leave(self, job: int) -> None:
        """No task of the job waits any more. Its parties keep what they have."""
        for claim in list(self._claims.get(job, {}).values()):
            if not claim.is_granted:
                self._drop(claim)

    def remove(self, job: int) -> None:
        """No task of the job waits or runs any more."""
        claims = list(self._claims.get(job, {}).values())
        for claim in claims:
            self._drop(claim)
        if claims:
            self._wake_refused()

    # --- claims

    def _new(self, job: Job, index: int, needs: dict[int, Need]) -> _Claim:
        claim = _Claim(
            job=job.number,
            task=index,
            attempt=job.status.tasks[index].attempt,
            order=(-job.spec.tasks[index].priority, next(self._tickets)),
            needs=needs,
            need=total(needs.values()),
            wake=_nobody,
        )
        self._claims.setdefault(job.number, {})[index] = claim
        return claim

    def _needs(self, job: Job, index: int, ports: Sequence[int]) -> dict[int, Need]:
        parties = zip(job.status.tasks[index].parties, ports, strict=True)
        return {at: self._slots.need(party.domain_id, own) for at, (party, own) in enumerate(parties)}

    def _drop(self, claim: _Claim) -> None:
        self._forget(claim)
        if claim.is_granted:
            self._hand_out(self._take_back(claim))
        else:
            self._leave_line(claim)
            # What was gathered for it.
            self._hand_out(dict.fromkeys(claim.need))

    def _forget(self, claim: _Claim) -> None:
        claims = self._claims[claim.job]
        del claims[claim.task]
        if not claims:
            del self._claims[claim.job]

    def _grant(self, claim: _Claim) -> None:
        self._slots.take(claim.need)
        claim.is_granted = True

    def _take_back(self, claim: _Claim) -> dict[str, None]:
        """What is free by that."""
        claim.is_granted = False
        need = total(claim.needs.values())
        self._slots.free(need)
        return dict.fromkeys(need)

    # --- the line

    def _stand_in_line(self, claim: _Claim, needs: dict[int, Need]) -> None:
        """Get in line. Raises StartFailed if waiting would never help."""
        if claim.awaits and claim.needs == needs:
            return
        self._leave_line(claim)
        claim.needs, claim.need = needs, total(needs.values())
        refusal = self._slots.refusal(claim.need)
        if refusal:
            self._drop(claim)
            raise StartFailed(refusal)
        self._enter(claim)

    def _enter(self, claim: _Claim) -> None:
        """Get in line, unless everything is free."""
        lack = self._lack(claim)
        if not lack:
            self._grant(claim)
            return
        for resource in claim.need:
            if resource != SLOTS:
                _put(self._needing, resource, claim)
        claim.awaits = lack
        _put(self._waiting, lack, claim)

    def _leave_line(self, claim: _Claim) -> None:
        if self._refused.pop(claim, self) is None:
            self._set_timer()
        if claim.awaits:
            _take(self._waiting, claim.awaits, claim)
            for resource in claim.need:
                if resource != SLOTS:
                    _take(self._needing, resource, claim)
            claim.awaits = ""

    def _lack(self, claim: _Claim) -> str:
        """The first resource of which the claims before this one leave too little; empty if there is none."""
        for resource, wanted in claim.need.items():
            first = self._first(self._waiting, resource, claim)
            if first is not None:
                return resource
            gatherer = self._first(self._needing, resource, claim)
            gathered = gatherer.need[resource] if gatherer is not None else 0
            if not self._slots.has(resource, gathered + wanted):
                return resource
        return ""

    def _first(self, lines: dict[str, list[_Claim]], resource: str, claim: _Claim) -> _Claim | None:
        """The first claim in a line, if it goes before this one."""
        line = lines.get(resource)
        return line[0] if line and line[0].order < claim.order else None

    def _hand_out(self, freed: Iterable[str]) -> None:
        """Give what is free to claims that wait for it, in order, until the first in each line still lacks something.

        A claim that lacks another resource now moves to the line of that one, and the next claim gets its turn.
        """
        lines = set(freed)
        in_vain = 0
        while in_vain < LOOKS:
            claim = min((self._waiting[line][0] for line in lines if line in self._waiting), key=_order, default=None)
            if claim is None:
                break
            lack = self._lack(claim)
            if lack == claim.awaits:
                lines.discard(lack)
                continue
            in_vain += bool(lack)
            self._leave_line(claim)
            self._enter(claim)
            claim.wake()
        else:
            self._unfinished |= dict.fromkeys(lines)
        self._set_timer()

    def _wake_refused(self) -> None:
        for claim in list(islice(self._refused, LOOKS)):
            claim.wake()

    def _set_timer(self) -> None:
        is_wanted = bool(self._refused or self._unfinished)
        if is_wanted and self._timer is None:
            self._timer = self._clock.call_later(RETRY_SECONDS, self._look_again)
        elif not is_wanted and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = None
        unfinished, self._unfinished = self._unfinished, {}
        self._wake_refused()
        self._hand_out(unfinished)


def _nobody() -> None:
    """Wakes nobody: the task's worker does not exist yet."""


def _order(claim: _Claim) -> tuple[int, int]:
    return claim.order


def _put(lines: dict[str, list[_Claim]], resource: str, claim: _Claim) -> None:
    insort(lines.setdefault(resource, []), claim, key=_order)


def _take(lines: dict[str, list[_Claim]], resource: str, claim: _Claim) -> None:
    line = lines[resource]
    del line[bisect_left(line, claim.order, key=_order)]
    if not line:
        del lines[resource]
