"""A domain is told no more of a damaged job that it may not see than of one that does not exist."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from kusciajob.events.hub import Hub
from kusciajob.model.damage import JobDamaged
from kusciajob.model.errors import JobExists, NotAllowed
from kusciajob.model.job import Party, Task
from kusciajob.runtime.simulated import AnyImage
from kusciajob.store.sqlite.store import SqliteStore
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.jobs import JobService
from kusciajob.usecases.logs import TaskOutput
from tests.support.builders import job_spec, new_job
from tests.support.clock import ManualClock
from tests.support.damage import damage
from tests.support.outputs import FixedOutput
from tests.support.runtimes import ManualRuntime
from tests.support.streams import opened_hub

ALICE, BOB, CAROL = Caller("alice"), Caller("bob"), Caller("carol")
STATUS = "UPDATE job SET status = x'00' WHERE number = 1"
SPEC = "UPDATE spec SET spec = x'00' WHERE number = 1"
INITIATOR = "UPDATE job SET initiator = x'ff' WHERE number = 1"


class Place:
    """A store in which alice's job `job`, with bob as a party, is damaged; `own` is carol's, `other` alice's."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.service = JobService(store=store, hub=Hub(store), images=AnyImage(), clock=ManualClock())
        self.output = TaskOutput(store=store, runtime=ManualRuntime(), source=FixedOutput(), images=AnyImage())

    async def ask(self, what: str, job_id: str, caller: Caller) -> None:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "query": lambda: self.service.query(job_id, caller),
            "summaries": lambda: self.service.summaries(["own", job_id], caller),
            "delete": lambda: self.service.delete(job_id, caller),
            "approve": lambda: self.service.approve(job_id, accepted=True, reason="", caller=caller),
            "output": lambda: self.output.node(f"{job_id}-psi", domain="", replica=0, caller=caller),
        }
        await calls[what]()


@pytest.fixture
async def place(tmp_path: Path, statement: str) -> AsyncIterator[Place]:
    store = await SqliteStore.open(tmp_path / "jobs.db")
    await store.create(new_job("job"))
    await store.create(new_job(job_spec("own", initiator="carol", tasks=[Task("t", "app", (Party("carol"),))])))
    await store.create(new_job("other"))
    await store.close()
    damage(tmp_path / "jobs.db", statement)
    store = await SqliteStore.open(tmp_path / "jobs.db")
    yield Place(store)
    await store.close()


async def told(place: Place, what: str, job_id: str, caller: Caller) -> str:
    with pytest.raises(NotAllowed) as refused:
        await place.ask(what, job_id, caller)
    return str(refused.value)


@pytest.mark.parametrize(
    ("statement", "strangers"), [(STATUS, [BOB, CAROL]), (SPEC, [CAROL]), (INITIATOR, [ALICE, BOB, CAROL])]
)
@pytest.mark.parametrize("what", ["query", "summaries", "delete", "approve", "output"])
async def test_it_is_as_one_that_does_not_exist(place: Place, what: str, strangers: list[Caller]) -> None:
    for stranger in strangers:
        assert (await told(place, what, "job", stranger)).replace('"job', '"no') == (
            await told(place, what, "no", stranger)
        )
    assert await place.store.size() == 3


@pytest.mark.parametrize(
    ("statement", "callers"), [(STATUS, [ALICE, MASTER]), (SPEC, [ALICE, BOB, MASTER]), (INITIATOR, [MASTER])]
)
async def test_who_may_see_it_is_told_and_may_delete_it(place: Place, callers: list[Caller]) -> None:
    for caller in callers:
        with pytest.raises(JobDamaged):
            await place.ask("query", "job", caller)
        with pytest.raises(JobDamaged):
            await place.service.create(job_spec("job"), caller if caller.domain == "alice" else MASTER)
    await place.ask("delete", "job", callers[0])
    assert await place.store.size() == 2


@pytest.mark.parametrize("statement", [STATUS])
async def test_it_is_named_with_the_other_jobs_that_cannot_be_told(place: Place) -> None:
    with pytest.raises(NotAllowed, match=r'jobs "job", "no", "other":'):
        await place.service.summaries(["job", "no", "own", "other"], CAROL)
    with pytest.raises(NotAllowed, match=r'jobs "own", "no":'):
        await place.service.summaries(["job", "own", "no"], ALICE)
    with pytest.raises(JobDamaged, match=r'^job "job" is damaged: '):
        await place.service.summaries(["other", "job"], ALICE)


@pytest.mark.parametrize("statement", [STATUS])
async def test_its_id_is_taken_and_no_more_is_told(place: Place) -> None:
    with pytest.raises(NotAllowed, match=r'may not use job_id "job": it is taken') as of_damaged:
        await place.service.create(job_spec("job", initiator="carol"), CAROL)
    with pytest.raises(NotAllowed) as of_sound:
        await place.service.create(job_spec("other", initiator="carol"), CAROL)
    assert str(of_damaged.value) == str(of_sound.value).replace('"other"', '"job"')
    with pytest.raises(JobExists):
        await place.service.create(job_spec("own", initiator="carol"), CAROL)


@pytest.mark.parametrize(("statement", "names"), [(STATUS, {"alice"}), (INITIATOR, set())])
async def test_watchers_are_told_of_it_if_they_may_see_it(place: Place, names: set[str]) -> None:
    for caller in (ALICE, BOB, CAROL):
        async with opened_hub(place.store) as hub:
            service = JobService(store=place.store, hub=hub, images=AnyImage(), clock=ManualClock())
            async with service.watch(caller) as stream:
                seen = {published.event.job.job_id for published in await stream.read()}
        assert ("job" in seen) == (caller.domain in names)
