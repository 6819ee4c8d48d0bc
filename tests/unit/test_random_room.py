"""Random tasks that come, end and give up: what the room promises holds at every step."""

from random import Random

import pytest
from msgspec import Struct
from msgspec.structs import replace

from kusciajob.contracts import NoCapacity, PartyKey, StartFailed
from kusciajob.model import transitions
from kusciajob.model.job import Party
from kusciajob.model.status import Job
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.scheduler.waiting_room import RETRY_SECONDS, WaitingRoom
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock


class Waiter(Struct, eq=False):
    """A task in line, and what has to end before it has what it needs."""

    job: Job
    ports: list[int]
    order: tuple[int, int]
    reason: str
    awaited: set[PartyKey] | None = None
    is_awaiting_slots: bool = False
    was_preceded: bool = False
    """By one that goes before it, since it was the first in line."""

    @property
    def domains(self) -> list[str]:
        return [party.domain_id for party in self.job.status.tasks[0].parties]

    @property
    def keys(self) -> list[PartyKey]:
        return [PartyKey(self.job.number, 0, 1, at) for at in range(len(self.domains))]


class Drive:
    """A room with random limits, used by tasks that come in a stream."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.limits = SlotLimits(
            parties=self.random.choice((0, 4, 8)),
            parties_per_domain=self.random.choice((0, 0, 2, 3)),
            ports=range(7000, 7000 + self.random.choice((0, 6))),
        )
        self.room = WaitingRoom(self.limits, self.clock)
        self.waiting: dict[int, Waiter] = {}
        self.woken: set[int] = set()
        self.running: dict[PartyKey, tuple[str, int]] = {}
        self.jobs = 0
        self.refuses = self.random.choice((0.0, 0.0, 0.2))
        self.is_fair = not self.refuses  # who was refused comes back into the line, ahead of others

    def run(self, steps: int = 300) -> None:
        for _ in range(steps):
            self.random.choice((self.come, self.end, self.end, self.give_up))()
            self.settle()
        self.refuses = 0.0
        while self.running or self.waiting:
            was_waiting = len(self.waiting)
            if self.running:
                self.end()
            else:
                self.clock.advance(RETRY_SECONDS)
            self.settle()
            assert self.running or len(self.waiting) < max(was_waiting, 1), "they wait for nothing"
        assert (self.room.taken, self.room.occupants, self.clock.timers) == (0, 0, 0)

    def come(self) -> None:
        self.jobs += 1
        domains = self.random.choices("abcd", k=self.random.choice((1, 1, 1, 2, 4)))
        parties = tuple(Party(domain, f"role-{at}") for at, domain in enumerate(domains))
        priority = int(self.random.random() < 0.1)
        one = replace(task("t"), parties=parties, priority=priority)
        job = replace(new_job(job_spec(f"job-{self.jobs}", tasks=[one])), number=self.jobs)
        ports = [self.random.choice((0, 1)) for _ in parties]
        self.ask(Waiter(transitions.admit(job, 0, now=NOW), ports, (-priority, self.jobs), ""))

    def ask(self, waiter: Waiter) -> None:
        number = waiter.job.number
        try:
            self.room.claim(waiter.job, 0, ports=waiter.ports, wake=lambda: self.woken.add(number))
        except NoCapacity as wait:
            waiter.reason = str(wait)
            self.waiting[number] = waiter
        except StartFailed:
            assert not self.waiting.pop(number, None)
        else:
            if self.random.random() < self.refuses:
                self.room.put_off(number, 0)
                waiter.reason = "refused"
                self.waiting[number] = waiter
            else:
                self.waiting.pop(number, None)
                if self.is_fair:
                    self.check_start(waiter)
                self.running |= {
                    key: (domain, ports)
                    for key, domain, ports in zip(waiter.keys, waiter.domains, waiter.ports, strict=True)
                }

    def end(self) -> None:
        if self.running:
            key = self.random.choice(list(self.running))
            del self.running[key]
            self.room.release([key])

    def give_up(self) -> None:
        if self.waiting and self.random.random() < 0.3:
            waiter = self.waiting.pop(self.random.choice(list(self.waiting)))
            self.room.keep_active(transitions.fail_waiting(waiter.job, 0, "late", now=NOW))

    def settle(self) -> None:
        """Who was woken asks again; then nothing may be wrong."""
        while self.woken:
            waiter = self.waiting.get(self.woken.pop())
            if waiter is not None:
                self.ask(waiter)
        self.check_limits()
        if self.is_fair and self.waiting:
            self.check_first()

    def check_limits(self) -> None:
        assert self.room.taken == len(self.running)
        assert self.room.occupants == len(self.waiting)
        assert len(self.running) <= (self.limits.parties or len(self.running))
        domains = [domain for domain, _ in self.running.values()]
        for domain in set(domains):
            assert domains.count(domain) <= (self.limits.parties_per_domain or len(domains))
        if self.limits.ports:
            assert sum(ports for _, ports in self.running.values()) <= len(self.limits.ports)

    def check_start(self, waiter: Waiter) -> None:
        """None that goes before it is in line for slots, or for the same domain or for ports as well."""
        for other in self.waiting.values():
            if other.order > waiter.order:
                other.awaited, other.was_preceded = None, True
            elif other.job.number not in self.woken and other.reason != "refused":
                assert "max_running_parties is" not in other.reason, f"{waiter} has overtaken {other}"
                assert not (sum(waiter.ports) and "port" in other.reason)
                assert not any(f"of domain {domain} " in other.reason for domain in waiter.domains)

    def check_first(self) -> None:
        """The first in line has to wait for no one who came later."""
        first = min(self.waiting.values(), key=lambda waiter: waiter.order)
        for other in self.waiting.values():
            if other is not first:
                other.awaited = None  # it is not the first (any more)
        is_for_slots = "max_running_parties is" in first.reason
        if first.awaited is None or is_for_slots != first.is_awaiting_slots:
            assert first.awaited is None or is_for_slots or first.was_preceded, "it had the slots of its domains"
            first.is_awaiting_slots, first.was_preceded = is_for_slots, first.was_preceded and is_for_slots
            first.awaited = {key for key in self.running if is_for_slots or self.is_rival(key, first)}
        first.awaited &= self.running.keys()
        assert first.awaited, f"{first} waits longer than promised"

    def is_rival(self, key: PartyKey, waiter: Waiter) -> bool:
        domain, ports = self.running[key]
        return domain in waiter.domains or bool(ports and sum(waiter.ports))


@pytest.mark.parametrize("seed", range(300))
async def test_random_tasks_keep_the_limits_and_none_waits_longer_than_promised(seed: int) -> None:
    Drive(seed).run()
