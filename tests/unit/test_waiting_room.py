"""What the waiting room gives is given back once, by those that have it."""

import pytest
from msgspec.structs import replace

from kusciajob.contracts import NoCapacity, PartyKey
from kusciajob.model import transitions
from kusciajob.model.job import Party
from kusciajob.model.status import Job
from kusciajob.scheduler.slots import SlotLimits
from kusciajob.scheduler.waiting_room import LOOKS, RETRY_SECONDS, WaitingRoom
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock


def admitted(number: int, *domains: str, priority: int = 0) -> Job:
    """A job whose one task, of these parties, is about to be placed."""
    parties = tuple(Party(domain, f"role-{index}") for index, domain in enumerate(domains))
    job = new_job(job_spec(f"job-{number}", tasks=[replace(task("t"), parties=parties, priority=priority)]))
    return transitions.admit(replace(job, number=number), 0, now=NOW)


def nobody() -> None:
    """Is woken."""


def test_only_a_party_that_has_a_slot_gives_it_back_and_only_once() -> None:
    room = WaitingRoom(SlotLimits(parties=2), ManualClock())
    room.claim(admitted(1, "alice", "bob"), 0, ports=[0, 0], wake=nobody)
    others = [PartyKey(2, 0, 1, 0), PartyKey(1, 1, 1, 0), PartyKey(1, 0, 2, 0), PartyKey(1, 0, 1, 2)]
    room.release(others)
    assert room.taken == 2
    room.release([PartyKey(1, 0, 1, 0), PartyKey(1, 0, 1, 0)])
    room.release([PartyKey(1, 0, 1, 0)])
    assert room.taken == 1
    room.release([PartyKey(1, 0, 1, 1)])
    assert room.taken == 0


async def test_a_task_that_waits_has_nothing_to_give_back() -> None:
    room = WaitingRoom(SlotLimits(parties=2), ManualClock())
    room.claim(admitted(1, "alice", "bob"), 0, ports=[0, 0], wake=nobody)
    with pytest.raises(NoCapacity):
        room.claim(admitted(2, "alice"), 0, ports=[0], wake=nobody)
    room.release([PartyKey(2, 0, 1, 0)])
    assert (room.taken, room.occupants) == (2, 1)


async def test_those_that_are_not_looked_at_because_many_before_them_lack_something_are_looked_at_later() -> None:
    clock = ManualClock()
    room = WaitingRoom(SlotLimits(parties=21, parties_per_domain=20), clock)
    first = admitted(1, *(f"domain-{index}" for index in range(21)))
    room.claim(first, 0, ports=[0] * 21, wake=nobody)
    carols = [admitted(number, "carol") for number in range(2, LOOKS + 3)]
    # It takes all that carol may have, so that her others wait for that and no more for a slot.
    greedy = admitted(98, *["carol"] * 20, priority=1)
    last = admitted(99, "dave")
    for job in (*carols, last, greedy):
        with pytest.raises(NoCapacity, match="max_running_parties is 21"):
            room.claim(job, 0, ports=[0] * len(job.status.tasks[0].parties), wake=nobody)
    room.release([PartyKey(1, 0, 1, party) for party in range(21)])
    assert room.taken == 20
    clock.advance(RETRY_SECONDS)
    assert room.taken == 21
    assert clock.timers == 0
