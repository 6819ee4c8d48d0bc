"""What the waiting room gives is given back once, by those that have it."""

import pytest
from msgspec.structs import replace

from kusciajob.contracts import NoCapacity, PartyKey
from kusciajob.model import transitions
from kusciajob.model.job import Party
from kusciajob.model.status import Job
from kusciajob.scheduler.room import WaitingRoom
from kusciajob.scheduler.slots import SlotLimits
from tests.support.builders import NOW, job_spec, new_job, task
from tests.support.clock import ManualClock


def admitted(number: int, *domains: str) -> Job:
    """A job whose one task, of these parties, is about to be placed."""
    parties = tuple(Party(domain) for domain in domains)
    job = new_job(job_spec(f"job-{number}", tasks=[replace(task("t"), parties=parties)]))
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
