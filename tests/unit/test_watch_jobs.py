"""The call WatchJobs: what is refused, what is told to whom and in which form, bookmarks and time limits."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import islice

import pytest
from msgspec import Struct

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.api.calls.v1 import watching
from kusciajob.api.calls.v1.watching import WatchCalls
from kusciajob.events.hub import Hub
from kusciajob.model import transitions
from kusciajob.model.errors import InvalidJob, LogTruncated
from kusciajob.model.moves import PartyEvent
from kusciajob.model.status import JobSummary
from kusciajob.model.transitions import PartyMove
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.watching import JobWatch
from kusciajob.wire.json import to_json
from kusciajob.wire.v1 import events
from kusciajob.wire.v1.events import ToldEvent
from kusciajob.wire.v1.summaries import encode_job
from tests.support import steps
from tests.support.builders import NOW, job_spec, new_job
from tests.support.streams import change, opened_hub

Type = pb.WatchJobsResponse


class Place(Struct):
    store: MemoryStore
    hub: Hub
    calls: WatchCalls

    async def watch(self, request: pb.WatchJobsRequest, count: int, caller: Caller = MASTER) -> list[ToldEvent]:
        """So many items; fewer if the stream ends."""
        found: list[ToldEvent] = []
        async with aclosing(self.calls.WatchJobs(request, caller)) as batches:
            assert await anext(batches) == ()
            async for batch in batches:
                found += batch
                if len(found) >= count:
                    break
        return list(islice(found, count))

    async def told(self, request: pb.WatchJobsRequest, count: int, caller: Caller = MASTER) -> list[tuple[str, int]]:
        return [(each.event, each.revision) for each in await self.watch(request, count, caller)]

    async def refused(self, request: pb.WatchJobsRequest) -> InvalidJob:
        with pytest.raises(InvalidJob) as refusal:
            await self.watch(request, 1)
        return refusal.value


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    store = MemoryStore()
    async with opened_hub(store) as hub:
        yield Place(store, hub, WatchCalls(JobWatch(store=store, hub=hub)))


def message_of(told: ToldEvent) -> pb.WatchJobsResponse:
    return pb.WatchJobsResponse.FromString(told.SerializeToString())


async def test_what_cannot_be_is_refused_with_every_problem(place: Place) -> None:
    refusal = await place.refused(pb.WatchJobsRequest(after_revision=-1, include_existing=True, timeout_seconds=-5))
    assert [problem.field for problem in refusal.problems] == ["timeout_seconds", "after_revision", "include_existing"]
    assert "timeout_seconds -5 is out of range: 0 (no limit) to 2147483647" in str(refusal)
    assert [each.field for each in (await place.refused(pb.WatchJobsRequest(states=["Gone"]))).problems] == [
        "states[0]"
    ]


async def test_a_revision_that_does_not_exist_yet_is_refused_by_name(place: Place) -> None:
    await place.store.create(new_job("a"))
    assert await place.told(pb.WatchJobsRequest(after_revision=1, timeout_seconds=1), 1) == [("bookmark", 1)]
    refusal = await place.refused(pb.WatchJobsRequest(after_revision=2))
    assert str(refusal) == "after_revision 2 does not exist yet: the newest revision is 1"
    assert [each.field for each in refusal.problems] == ["after_revision"]


async def test_a_log_that_no_longer_reaches_back_names_the_oldest_revision(place: Place) -> None:
    for job_id in ("a", "b", "c", "d"):
        await place.store.create(new_job(job_id))
    await place.store.truncate_log(2)
    with pytest.raises(LogTruncated, match=r"^after_revision 1 is too old: the oldest that can be used .* is 2; or"):
        await place.watch(pb.WatchJobsRequest(after_revision=1), 1)
    assert await place.told(pb.WatchJobsRequest(after_revision=2), 2) == [("added", 3), ("added", 4)]


async def test_a_log_of_an_earlier_version_cannot_tell_who_enters_and_leaves(place: Place) -> None:
    for job_id in ("a", "b"):
        await place.store.create(new_job(job_id))
    place.store.phases_told_after = 1
    with pytest.raises(LogTruncated, match=r"^after_revision 0 is too old: .* is 1; or"):
        await place.watch(pb.WatchJobsRequest(after_revision=0, states=["Pending"]), 1)
    assert await place.told(pb.WatchJobsRequest(after_revision=1, states=["Pending"]), 1) == [("added", 2)]
    assert await place.told(pb.WatchJobsRequest(after_revision=0, initiator="alice"), 1) == [("added", 1)]


async def test_from_now_on_begins_with_where_that_is(place: Place) -> None:
    await place.store.create(new_job("a"))
    async with aclosing(place.calls.WatchJobs(pb.WatchJobsRequest(), MASTER)) as batches:
        assert await anext(batches) == ()
        (first,) = await anext(batches)
        assert message_of(first) == pb.WatchJobsResponse(type=Type.TYPE_BOOKMARK, revision=1)
        await place.store.create(new_job("b"))
        (second,) = await anext(batches)
        assert (second.event, second.revision) == ("added", 2)


async def test_existing_jobs_have_no_place_to_go_on_before_the_bookmark_after_them(place: Place) -> None:
    await place.store.create(new_job("a"))
    await place.store.create(new_job("b"))
    request = pb.WatchJobsRequest(include_existing=True)
    assert await place.told(request, 3) == [("added", 0), ("added", 0), ("bookmark", 2)]


async def test_silence_is_broken_by_bookmarks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watching.BOOKMARK_SECONDS < 10
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.01)
    await place.store.create(new_job("a"))
    request = pb.WatchJobsRequest(after_revision=0, initiator="bob")
    assert await place.told(request, 3) == [("bookmark", 1)] * 3


async def test_a_watch_ends_after_its_time(place: Place) -> None:
    request = pb.WatchJobsRequest(after_revision=0, timeout_seconds=1)
    assert await place.told(request, 100) == [("bookmark", 0)]


async def test_a_job_that_enters_and_leaves_is_told_so(place: Place) -> None:
    job = await place.store.create(new_job("a"))
    job = await place.store.replace(steps.start(job))
    job = await change(place.store, job, "something", fault="broken")  # two events
    job = await place.store.replace(steps.move_all(job, PartyEvent.SUCCEEDED))
    await place.store.delete(job)
    request = pb.WatchJobsRequest(after_revision=0, states=["Running"])
    assert await place.told(request, 4) == [("added", 2), ("modified", 3), ("fault", 4), ("left", 5)]
    assert (await place.told(pb.WatchJobsRequest(after_revision=0), 6))[-1] == ("deleted", 6)


async def test_a_domain_is_told_of_its_own_jobs_and_no_details_of_others(place: Place) -> None:
    job = steps.start(await place.store.create(new_job("a")))
    moves = [PartyMove(index, PartyEvent.FAILED, "exit code 1", f"secret-{index}") for index in range(2)]
    failed = transitions.settle(transitions.move_parties(job, 0, moves, now=NOW), NOW)
    await place.store.replace(failed)
    await place.store.create(new_job(job_spec("c", initiator="carol")))
    request = pb.WatchJobsRequest(after_revision=0)
    (_, of_alice) = await place.watch(request, 2, Caller("alice"))
    for form in (of_alice.SerializeToString(), of_alice.to_json()):
        assert b"secret-0" in form
        assert b"secret-1" not in form
    (told,) = await place.watch(request, 1, Caller("carol"))
    assert message_of(told).job.job_id == "c"


async def test_the_job_of_an_event_is_encoded_once_for_all_streams(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.01)
    encoded: list[int] = []

    def encode(job: JobSummary) -> pb.JobSummary:
        encoded.append(job.revision)
        return encode_job(job)

    monkeypatch.setattr(events, "encode_job", encode)
    await place.store.replace(steps.start(await place.store.create(new_job("a"))))
    requests = [
        pb.WatchJobsRequest(after_revision=0, states=states, initiator=initiator)
        for states in ([], ["Running"], ["Pending"])
        for initiator in ("", "alice")
    ]
    names = set()
    for request in requests:
        for told in await place.watch(request, 2):
            told.SerializeToString()
            told.to_json()
            names.add(told.event)
    assert names >= {"added", "modified", "left"}
    assert sorted(encoded) == [1, 1, 2, 2]  # protobuf and JSON
    assert await place.watch(pb.WatchJobsRequest(after_revision=0, initiator="bob", timeout_seconds=1), 1)


async def test_both_forms_say_the_same(place: Place) -> None:
    spec = job_spec("a", custom_fields={"k": "v"})
    await place.store.create(new_job(spec))
    added, bookmark = await place.watch(pb.WatchJobsRequest(after_revision=0, timeout_seconds=1), 2)
    for told in (added, bookmark):
        assert json.loads(told.to_json()) == json.loads(to_json(message_of(told)))
        assert told.to_json() == to_json(message_of(told))
    message = message_of(added)
    assert (message.type, message.revision) == (Type.TYPE_ADDED, 1)
    assert (message.job.job_id, message.job.number, message.job.custom_fields["k"]) == ("a", 1, "v")
    assert (message.status.state, message.status.tasks[0].alias) == ("Pending", "psi")
