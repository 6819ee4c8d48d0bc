"""What a watch has told, so that a replay of all jobs tells changes only: nothing twice, nothing missed.

No input or output here: the streams are read elsewhere.
"""

from collections.abc import Hashable

from msgspec import Struct

from kusciajob.client.values import Change, ChangeType, JobStatus


class Sighting(Struct, frozen=True):
    """A job as a server shows it. Of two with one identity and another version something has changed between them."""

    status: JobStatus
    identity: Hashable
    """Differs between a job and another one that gets the same id later."""
    version: Hashable


class Comparison:
    """The jobs that the consumer of a watch knows of."""

    def __init__(self) -> None:
        self._known: dict[str, Sighting] = {}
        self._unseen: set[str] = set()
        self._ghosts: dict[str, Hashable] = {}
        """Jobs that were found to be gone; a replay that began before may still show them."""

    @property
    def job_ids(self) -> list[str]:
        """The jobs that have been told and not been told to be gone."""
        return list(self._known)

    @property
    def unseen(self) -> list[str]:
        """Those of them that the replay has not shown yet."""
        return sorted(self._unseen)

    def know(self, sighting: Sighting) -> None:
        """The consumer has it from elsewhere."""
        self._known[sighting.status.job_id] = sighting

    def begin_replay(self) -> None:
        """From now on every job is shown."""
        self._unseen = set(self._known)
        self._ghosts.clear()

    def see(self, sighting: Sighting, revision: int = 0) -> list[Change]:
        """What is new about a job that is there."""
        job_id = sighting.status.job_id
        self._unseen.discard(job_id)
        if self._ghosts.get(job_id) == sighting.identity:
            return []
        before = self._known.get(job_id)
        self._known[job_id] = sighting
        if before is None:
            return [Change(ChangeType.ADDED, sighting.status, revision)]
        if before.identity != sighting.identity:
            return [
                Change(ChangeType.DELETED, before.status, 0),
                Change(ChangeType.ADDED, sighting.status, revision),
            ]
        if before.version == sighting.version:
            return []
        return [Change(ChangeType.MODIFIED, sighting.status, revision)]

    def lose(self, job_id: str, *, kind: ChangeType = ChangeType.DELETED) -> list[Change]:
        """It was found to be gone, or to pass the filter no more."""
        self._unseen.discard(job_id)
        before = self._known.pop(job_id, None)
        if before is None:
            return []
        self._ghosts[job_id] = before.identity
        return [Change(kind, before.status, 0)]

    def delete(self, sighting: Sighting, revision: int = 0, *, kind: ChangeType = ChangeType.DELETED) -> list[Change]:
        """The server tells that it is gone, or that it passes the filter no more."""
        job_id = sighting.status.job_id
        self._unseen.discard(job_id)
        self._ghosts.pop(job_id, None)
        if self._known.pop(job_id, None) is None:
            return []
        return [Change(kind, sighting.status, revision)]

    def follow(self, kind: ChangeType, sighting: Sighting, revision: int) -> Change:
        """A change from a stream that neither misses nor repeats any."""
        if kind in (ChangeType.DELETED, ChangeType.LEFT):
            self._known.pop(sighting.status.job_id, None)
        elif kind is not ChangeType.ERROR:
            self._known[sighting.status.job_id] = sighting
        return Change(kind, sighting.status, revision)
