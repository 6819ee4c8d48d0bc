"""A server in memory that is seen over a bad line: what a client is told of it can be held against what happened.

Everything is decided by one source of chance, so a run can be repeated. Nothing waits: a client that would wait for
more, when nothing more will happen, is ended by Quiet.
"""

import random
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

from msgspec import Struct

from kusciajob.api import kuscia, v1
from kusciajob.client.errors import ClientError, JobNotFound, NotOffered, RevisionGone, RpcFailed, Unavailable

STATES = ("Pending", "Running", "Suspended", "Succeeded", "Failed", "Cancelled")
ENDED = frozenset(("Succeeded", "Failed", "Cancelled"))
JOBS = ("a", "b", "c")


class Quiet(BaseException):
    """Nothing more will happen."""


class Entry(Struct, frozen=True):
    """One commit."""

    revision: int
    kind: str
    """ADDED, MODIFIED or DELETED."""
    job_id: str
    number: int
    state: str
    before: str = ""
    """The state that was left; empty for a new job."""

    @property
    def detail(self) -> kuscia.JobStatusDetail:
        """Of this very commit: number and revision are in it."""
        tasks = [kuscia.TaskStatus(alias="psi", task_id=f"{self.job_id}-{self.number}")]
        return kuscia.JobStatusDetail(state=self.state, err_msg=f"{self.number} {self.revision}", tasks=tasks)


class World:
    """Jobs, and the log of all commits."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.jobs: dict[str, Entry] = {}
        self.forgotten = 0
        """The log is there from the next revision on."""

    @property
    def revision(self) -> int:
        return len(self.log)

    def move(self, chance: random.Random) -> None:
        """One commit more."""
        job_id = chance.choice(JOBS)
        before = self.jobs.get(job_id)
        if before is None:
            self._commit("ADDED", job_id, self.revision + 1, "Pending", "")
        elif chance.random() < 0.3:
            self._commit("DELETED", job_id, before.number, before.state, before.state)
        else:
            self._commit("MODIFIED", job_id, before.number, chance.choice(STATES), before.state)

    def _commit(self, kind: str, job_id: str, number: int, state: str, before: str) -> None:
        entry = Entry(self.revision + 1, kind, job_id, number, state, before)
        self.log.append(entry)
        if kind == "DELETED":
            del self.jobs[job_id]
        else:
            self.jobs[job_id] = entry


class _Stream:
    """One that was asked for. What existed is looked up when it is in place."""

    def __init__(self, method: str, request: Any) -> None:
        self.method = method
        self.request = request
        self.existing: list[Entry] | None = None
        self.position = 0
        self.has_told = False


class LossyTransport:
    """Calls of a world, by the names of methods. `is_plain`: only those that Kuscia has."""

    address = "nowhere:0"

    def __init__(self, world: World, chance: random.Random, *, is_plain: bool, moves: int = 30, cuts: int = 12) -> None:
        names = ("QueryJob", "BatchQueryJobStatus", "WatchJob", "GetServerInfo", "GetJob", "WatchJobs")
        methods = SimpleNamespace(**{name: name for name in names})
        self.stubs: Any = SimpleNamespace(jobs=methods, v1=methods, server=methods)
        self.world = world
        self.chance = chance
        self._is_plain = is_plain
        self._moves = moves
        self._cuts = cuts

    async def unary(self, method: str, request: Any, *, timeout: float | None) -> Any:
        self._go_on()
        self._maybe_cut()
        answer = self._answer(method, request)
        self._go_on()
        self._maybe_cut()  # the answer was lost
        return answer

    async def open(self, method: str, request: Any, *, timeout: float | None) -> Any:
        self._go_on()
        return _Stream(method, request)

    async def is_placed(self, stream: _Stream, *, within: float) -> bool:
        if self.chance.random() < 0.5:
            return False
        self._place(stream)
        self._go_on()
        return True

    async def messages(self, stream: _Stream) -> AsyncGenerator[Any, None]:
        self._go_on()
        self._maybe_cut()
        if stream.existing is None:
            self._place(stream)
        for entry in stream.existing or ():
            self._go_on()
            self._maybe_cut()
            stream.has_told = True
            yield self._event(entry, kind="ADDED", revision=0)
        if not self._is_plain and stream.request.include_existing:
            yield v1.WatchJobsResponse(type=v1.WatchJobsResponse.TYPE_BOOKMARK, revision=stream.position)
        while True:
            self._go_on()
            if self._maybe_cut(stream):
                return
            if stream.position < self.world.forgotten:
                raise RpcFailed("fell too far behind") if self._is_plain else RevisionGone(0, "fell too far behind")
            if stream.position == self.world.revision:
                if self._moves or self._cuts:
                    continue
                if self._is_plain:
                    yield kuscia.WatchJobEventResponse(type=kuscia.HEARTBEAT)
                raise Quiet
            entry = self.world.log[stream.position]
            stream.position = entry.revision
            if self._is_asked_for(stream, entry):
                stream.has_told = True
                yield self._event(entry, kind=self._kind(stream, entry), revision=entry.revision)

    async def sleep(self, seconds: float) -> None:
        self._go_on()

    async def close(self) -> None:
        pass

    def _go_on(self) -> None:
        """What happens meanwhile, elsewhere."""
        while self._moves and self.chance.random() < 0.4:
            self._moves -= 1
            self.world.move(self.chance)

    def _maybe_cut(self, stream: _Stream | None = None) -> bool:
        """Whether the stream just ends. A cut raises; one that has told something may also be ended by a proxy."""
        if not self._cuts or self.chance.random() > 0.25:
            return False
        self._cuts -= 1
        kinds: list[ClientError] = [Unavailable(self.address, "cut")]
        if stream is not None:
            if self.chance.random() < 0.2:
                return True
            kinds += [RpcFailed("reset by a proxy")] * stream.has_told
        raise self.chance.choice(kinds)

    def _place(self, stream: _Stream) -> None:
        stream.position = self.world.revision
        request = stream.request
        if not self._is_plain and request.HasField("after_revision"):
            stream.existing, stream.position = [], request.after_revision
            if not self.world.forgotten <= stream.position:
                raise RevisionGone(0, "the log begins later")
            return
        entries = list(self.world.jobs.values())
        self.chance.shuffle(entries)
        stream.existing = [
            entry
            for entry in entries
            if self._is_asked_for(stream, entry) and (self._is_plain or _passes(stream, entry.state))
        ]

    def _is_asked_for(self, stream: _Stream, entry: Entry) -> bool:
        if self._is_plain:
            return True
        ids = stream.request.job_ids
        return (not ids or entry.job_id in ids) and (_passes(stream, entry.before) or _passes(stream, entry.state))

    def _kind(self, stream: _Stream, entry: Entry) -> str:
        if self._is_plain or entry.kind != "MODIFIED":
            return entry.kind
        was, is_now = _passes(stream, entry.before), _passes(stream, entry.state)
        return "LEFT" if not is_now else entry.kind if was else "ADDED"

    def _event(self, entry: Entry, *, kind: str, revision: int) -> Any:
        if self._is_plain:
            job = kuscia.JobStatus(job_id=entry.job_id, status=entry.detail)
            return kuscia.WatchJobEventResponse(type=kind, object=job)
        return v1.WatchJobsResponse(type=f"TYPE_{kind}", revision=revision, job=_summary(entry), status=entry.detail)

    def _answer(self, method: str, request: Any) -> Any:
        jobs = self.world.jobs
        if self._is_plain and method in ("GetServerInfo", "GetJob"):
            raise NotOffered("plain")
        match method:
            case "GetServerInfo":
                return v1.GetServerInfoResponse()
            case "BatchQueryJobStatus":
                self._find(*request.job_ids)
                response = kuscia.BatchQueryJobStatusResponse()
                for job_id in request.job_ids:
                    response.data.jobs.add(job_id=job_id, status=jobs[job_id].detail)
                return response
            case "QueryJob":
                self._find(request.job_id)
                return kuscia.QueryJobResponse(data={"job_id": request.job_id, "status": jobs[request.job_id].detail})
            case "GetJob":
                self._find(request.job_id)
                entry = jobs[request.job_id]
                return v1.GetJobResponse(job=v1.Job(summary=_summary(entry), status=entry.detail))
        raise AssertionError(method)

    def _find(self, *job_ids: str) -> None:
        if missing := [job_id for job_id in job_ids if job_id not in self.world.jobs]:
            raise JobNotFound(0, f"not found: {missing}")


def _passes(stream: _Stream, state: str) -> bool:
    return bool(state) and (not stream.request.states or state in stream.request.states)


def _summary(entry: Entry) -> v1.JobSummary:
    return v1.JobSummary(job_id=entry.job_id, state=entry.state, number=entry.number, revision=entry.revision)
