"""What the consumer of a watch is told over replays: after each one it knows exactly what there is, told once."""

from hypothesis import given
from hypothesis import strategies as st

from kusciajob.api import kuscia
from kusciajob.client.comparison import Comparison, Sighting
from kusciajob.client.values import Change, ChangeType, status_of

WORLD = st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 2), st.integers(0, 2)))
"""Jobs by id, each with identity and version."""


def sighting(job_id: str, identity: int, version: int) -> Sighting:
    status = status_of(job_id, kuscia.JobStatusDetail(state="Running", err_msg=f"{identity} {version}"))
    return Sighting(status, identity, version)


class Consumer:
    """Believes what it is told, and refuses what cannot be."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}

    def take(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type is ChangeType.DELETED:
                assert change.job_id in self.jobs, "deleted twice"
                del self.jobs[change.job_id]
                continue
            assert (change.type is ChangeType.ADDED) == (change.job_id not in self.jobs)
            assert self.jobs.get(change.job_id) != change.status.err_msg, "told twice"
            self.jobs[change.job_id] = change.status.err_msg


def replay(comparison: Comparison, consumer: Consumer, world: dict[str, tuple[int, int]], *, shown: int) -> None:
    comparison.begin_replay()
    for job_id in sorted(world)[:shown]:
        consumer.take(comparison.see(sighting(job_id, *world[job_id])))


@given(worlds=st.lists(st.tuples(WORLD, st.integers(0, 3))), last=WORLD)
def test_after_a_whole_replay_the_consumer_knows_what_there_is(
    worlds: list[tuple[dict[str, tuple[int, int]], int]], last: dict[str, tuple[int, int]]
) -> None:
    comparison, consumer = Comparison(), Consumer()
    for world, shown in worlds:  # cut short
        replay(comparison, consumer, world, shown=shown)
    replay(comparison, consumer, last, shown=len(last))
    for job_id in comparison.unseen:
        consumer.take(comparison.lose(job_id))
    assert consumer.jobs == {job_id: f"{identity} {version}" for job_id, (identity, version) in last.items()}
    assert sorted(comparison.job_ids) == sorted(last)


def test_a_replay_that_began_before_a_job_was_found_gone_does_not_bring_it_back() -> None:
    comparison, old, new = Comparison(), sighting("a", 1, 1), sighting("a", 2, 1)
    comparison.know(old)
    comparison.begin_replay()
    assert [change.type for change in comparison.lose("a")] == [ChangeType.DELETED]
    assert comparison.see(old) == []
    assert comparison.delete(old) == []
    assert [change.type for change in comparison.see(new)] == [ChangeType.ADDED]
