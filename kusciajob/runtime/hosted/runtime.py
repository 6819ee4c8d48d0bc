"""Runs each replica of a party as a workload of an engine, which outlives the server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from kusciajob.clock import pause
from kusciajob.contracts import (
    Arrival,
    Clock,
    ConfigFile,
    DomainSource,
    ExitResult,
    Node,
    OutputPiece,
    OutputStream,
    PartyKey,
    PartyPreview,
    PartySpec,
    StartFailed,
    WaitReport,
)
from kusciajob.model.status import Endpoint
from kusciajob.model.text import shown
from kusciajob.runtime.chores import Chores
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.file_work import FileWork
from kusciajob.runtime.hosted import names, workloads
from kusciajob.runtime.hosted.engine import Engine, EngineUnavailable, Phase, Ref, Sighting
from kusciajob.runtime.hosted.kept import End, KeptRun, KeptRuns, Note
from kusciajob.runtime.hosted.output import OutputCollector, drained, nobody_else
from kusciajob.runtime.hosted.results import judge
from kusciajob.runtime.hosted.runs import Found, Gang, HostedParty, Run
from kusciajob.runtime.rendering import ports_of
from kusciajob.runtime.together import all_done, first_failure
from kusciajob.telemetry.story import of_party

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 1.0
"""How long after a try the engine is asked again that could not be reached."""
REMOVAL_SECONDS = 5.0
"""How long a server that stops goes on removing what has ended."""
JOBS_REMOVED_AT_ONCE = 4
"""Thousands may be to remove, and parties that start shall not wait for the engine behind them."""
UNKNOWN_NODE = Node("", "")


class HostedRuntime:
    """A Runtime and OutputSource over an engine.

    A party runs at most once in an attempt. Its workloads are created, which starts nothing; then it is noted on disk
    that they may have begun; then, once all parties of the task are created, they are released. A server that finds
    a note never creates that workload again.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        store_id: str,
        directory: Path,
        clock: Clock,
        facts_of: DomainSource,
        settings_of: Callable[[str], DomainSettings],
        progress_url: Callable[[PartySpec], str],
        on_waiting: WaitReport,
        stop_grace_seconds: float,
        output_limit_bytes: int | None = None,
        policy: workloads.Policy = workloads.STRICT_POLICY,
        held: Callable[[], Awaitable[None]] = nobody_else,
    ) -> None:
        """`held` returns once no other server can look after the programs: see Lease."""
        self._held = held
        self._engine = engine
        self._store_id = store_id
        self._kept = KeptRuns(directory.absolute() / "runs")
        self._clock = clock
        self._facts_of = facts_of
        self._settings_of = settings_of
        self._progress_url = progress_url
        self._on_waiting = on_waiting
        self._stop_grace_seconds = stop_grace_seconds
        self._output_limit_bytes = output_limit_bytes
        self._policy = policy
        self._file_work = FileWork()
        self._parties: dict[PartyKey, HostedParty] = {}
        self._going: dict[int, set[str]] = {}
        """By their jobs, the names of the workloads that are seen and have not ended."""
        self._removing_jobs = asyncio.Semaphore(JOBS_REMOVED_AT_ONCE)
        self._seen: dict[str, Sighting] = {}
        """The last sighting of each workload that exists, by its name."""
        self._gangs: dict[tuple[int, int, int], Gang] = {}
        self._chores = Chores()
        self._removals = Chores()
        """Those that remove what has ended."""

    @property
    def failing(self) -> asyncio.Event:
        return self._engine.failing

    async def open(self) -> None:
        await self._engine.open(self._store_id, self._see)
        self._chores.do(self._sweep(), name="sweep")

    def preview(self, party: PartySpec) -> PartyPreview:
        """See Previewer."""
        return workloads.preview(party, facts=self._facts_of(party.party.domain_id), policy=self._policy)

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """See Previewer."""
        return workloads.config(party, facts=self._facts_of(party.party.domain_id), policy=self._policy)

    def ports_needed(self, parties: Sequence[PartySpec]) -> list[int]:
        for party in parties:
            workloads.template_of(party)
        return [0] * len(parties)

    async def allocate(self, parties: Sequence[PartySpec]) -> list[tuple[Endpoint, ...]]:
        return [self._endpoints(party) for party in parties]

    def _endpoints(self, party: PartySpec) -> tuple[Endpoint, ...]:
        deploy = workloads.template_of(party)
        domain = self._settings_of(party.party.domain_id)
        replica_names = [names.of_replica(self._store_id, party.key, replica) for replica in range(deploy.replicas)]
        return workloads.endpoints_of(deploy, [self._engine.host_of(name, domain) for name in replica_names])

    async def attach(self, party: PartySpec) -> None:
        await self._seen_all()
        own = self._party(party.key)
        found = await self._file_work.do(partial(self._find, party.key, party.party.domain_id))
        for each in found:
            if each.note:
                self._gang(party).complete()
                own.runs[each.ref.replica] = self._take_up(Run(each))
        # All directories are made before anything is noted.
        own.is_noted = bool(found) and all(each.note for each in found)

    async def start(self, party: PartySpec) -> None:
        own = self._party(party.key)
        try:
            if not own.is_noted:
                # A request that is under way is not cut off: `stop` waits for it.
                own.creating = asyncio.create_task(self._create(party, own), name=f"party {party.key} create")
                await asyncio.shield(own.creating)
                await self._join(party)
                await self._note(own)
            for run in own.runs.values():
                if not run.has_begun.is_set() and not run.is_finishing:
                    await self._insist(partial(self._engine.release, run.ref), own, party.key)
            for run in own.runs.values():
                await run.has_begun.wait()
        except asyncio.CancelledError:
            own.is_stopped = True
            raise

    async def _create(self, party: PartySpec, own: HostedParty) -> None:
        """Create the workloads of all replicas; none runs yet. What an earlier server has released stays as it is."""
        await self._insist(self._engine.seen_all, own, party.key)
        planned = await self._file_work.do(partial(self._plan, party))
        for each in planned:
            workload, replica = each.workload, each.workload.ref.replica
            if replica not in own.runs:
                own.runs[replica] = Run(
                    await self._file_work.do(partial(self._make_directory, workload.ref, each.notice))
                )
            run = own.runs[replica]
            if run.note is None:
                run.ref = replace(
                    run.ref, uid=await self._insist(partial(self._engine.create, workload), own, party.key)
                )
        for warning in planned[0].warnings:  # those of other replicas are the same
            text = "party %s of task %s: %s"
            logger.warning(text, party.key, shown(party.task_id), warning, extra=of_party(party))

    def _plan(self, party: PartySpec) -> list[workloads.Planned]:
        """The workloads of a party's replicas."""
        deploy = workloads.template_of(party)
        if len(party.endpoints[party.key.party]) != len(ports_of(deploy)) * deploy.replicas:
            raise StartFailed("its AppImage was changed while the party was being started: restart the job")
        make = partial(
            workloads.workload_of,
            party,
            store_id=self._store_id,
            domain=self._settings_of(party.party.domain_id),
            facts=self._facts_of(party.party.domain_id),
            progress_url=self._progress_url(party),
            policy=self._policy,
        )
        return [make(replica) for replica in range(deploy.replicas)]

    def _make_directory(self, ref: Ref, notice: str) -> Found:
        kept = self._kept.of(ref.key, ref.replica)
        try:
            kept.make(notice)
        except OSError as error:
            raise StartFailed(f"the party's directory cannot be written: {error.strerror}") from None
        return Found(ref, kept)

    def _find(self, key: PartyKey, domain_id: str = "") -> list[Found]:
        """The runs of a party of which a directory is left."""
        found = []
        for replica in self._kept.replicas(key):
            kept = self._kept.of(key, replica)
            note = kept.noted()
            domain_id = note.domain_id if note else domain_id
            ref = workloads.ref_of(self._store_id, key, replica, domain_id)
            found.append(Found(replace(ref, uid=note.uid) if note else ref, kept, note, kept.ended()))
        return found

    async def _join(self, party: PartySpec) -> None:
        """Return once all parties of the task are created, so that each finds the others."""
        gang = self._gang(party)
        if not gang.is_complete.is_set() and await self._file_work.do(partial(self._kept.has_begun, party.key)):
            gang.complete()  # an earlier server has released some of it
        gang.join(party.key)
        await gang.is_complete.wait()

    async def _note(self, own: HostedParty) -> None:
        """Note durably that the runs may begin from now on."""
        for run in own.runs.values():
            if run.note is None:
                run.note = Note(run.ref.uid, run.ref.domain_id)
                try:
                    await self._file_work.do(partial(run.kept.note, run.note))
                except OSError as error:
                    raise StartFailed(f"the party's directory cannot be written: {error.strerror}") from None
                self._take_up(run)
        own.is_noted = True

    def _take_up(self, run: Run) -> Run:
        """From now on what the engine sees of the run counts. One that an earlier server has noted may be gone."""
        run.is_followed = True
        if run.end is not None:
            run.finish(run.end.result)
        elif sighting := self._seen.get(run.ref.name):
            self._apply(run, sighting)
        elif run.is_of_earlier_server:
            self._apply(run, Sighting(run.ref, Phase.GONE, "it is not there any more"))
        return run

    async def wait(self, key: PartyKey) -> ExitResult:
        own = self._parties.get(key)
        if own is None or not own.is_noted:
            await self.stop(key)
            return ExitResult(succeeded=False, message="lost: nothing is known of its run any more", is_fault=True)
        if len(own.runs) > 1:
            ends = {replica: run.ended() for replica, run in own.runs.items()}
            result = await first_failure(ends, end_all=lambda: self._end_all(own))
        else:
            result = await next(iter(own.runs.values())).ended()
        self._forget(key)
        return result

    async def stop(self, key: PartyKey) -> None:
        own = self._party(key)
        own.is_stopped = True
        if own.creating is not None:
            await asyncio.gather(own.creating, return_exceptions=True)
        for found in await self._file_work.do(partial(self._find, key)):
            own.runs.setdefault(found.ref.replica, Run(found))
        await self._end_all(own)
        self._forget(key)

    async def _end_all(self, own: HostedParty) -> None:
        """End all replicas. If some fail, it raises the first error once all others are done."""
        await all_done(map(self._end, own.runs.values()))

    async def _end(self, run: Run) -> None:
        """Return when nothing of the run is left running, and its output is kept."""
        if run.is_ended:
            return
        await self._engine.end(run.ref, self._stop_grace_seconds)
        if run.is_followed:
            await run.ended()
        else:
            await self._engine.remove(run.ref)

    async def node(self, key: PartyKey, *, replica: int = 0) -> Node:
        run = self._parties[key].runs.get(replica) if key in self._parties else None
        if run is not None and run.node is not None:
            return run.node
        end = await self._file_work.do(self._kept.of(key, replica).ended)
        return end.node if end and end.node else UNKNOWN_NODE

    async def owned(self) -> Collection[int]:
        await self._seen_all()
        return {*await asyncio.to_thread(self._kept.jobs), *await self._engine.owned()}

    async def stop_job(self, job: int) -> None:
        for key in [key for key in self._parties if key.job == job]:
            await self.stop(key)
        await self._seen_all()
        # What has ended is removed later: others may wait for this.
        if job in self._going:
            await self._engine.remove_job(job, self._stop_grace_seconds)

    async def remove(self, job: int) -> None:
        async with self._removing_jobs:
            await self._engine.remove_job(job, self._stop_grace_seconds)
        await asyncio.to_thread(self._kept.remove, job)

    async def read_output(self, key: PartyKey, stream: OutputStream, offset: int, *, replica: int = 0) -> OutputPiece:
        """See OutputSource."""
        return await asyncio.to_thread(self._kept.of(key, replica).read, stream, offset)

    async def arrivals(self, key: PartyKey, *, replica: int = 0) -> Sequence[Arrival]:
        """See OutputSource."""
        return await asyncio.to_thread(self._kept.of(key, replica).arrivals)

    async def output_size(self, key: PartyKey, stream: OutputStream, *, replica: int = 0) -> int:
        """See OutputSource."""
        return await asyncio.to_thread(self._kept.of(key, replica).size, stream)

    async def replicas(self, key: PartyKey) -> int:
        """See OutputSource."""
        return max(len(await asyncio.to_thread(self._kept.replicas, key)), 1)

    async def close(self) -> None:
        # No later server may ever know of them: that of `kusciajob run` is the only one.
        await self._removals.wait(REMOVAL_SECONDS)
        await self._chores.end()
        await self._removals.end()
        await self._engine.close()

    def _see(self, sighting: Sighting) -> None:
        """Note what the engine sees."""
        name = sighting.ref.name
        self._note_going(sighting)
        if sighting.phase is Phase.GONE:
            self._seen.pop(name, None)
        else:
            self._seen[name] = sighting
        own = self._parties.get(sighting.ref.key)
        if own is None:
            return
        run = own.runs.get(sighting.ref.replica)
        if sighting.phase is Phase.WAITING and not (run and run.has_begun.is_set()):
            self._on_waiting(sighting.ref.key, sighting.text)
        if run is not None and run.is_followed:
            self._apply(run, sighting)

    def _note_going(self, sighting: Sighting) -> None:
        job = sighting.ref.key.job
        if sighting.phase not in (Phase.ENDED, Phase.GONE):
            self._going.setdefault(job, set()).add(sighting.ref.name)
        elif job in self._going:
            self._going[job].discard(sighting.ref.name)
            if not self._going[job]:
                del self._going[job]

    def _apply(self, run: Run, sighting: Sighting) -> None:
        if sighting.ref.uid and run.ref.uid and sighting.ref.uid != run.ref.uid:
            return  # another one that has its name
        run.node = sighting.node or run.node
        if sighting.phase in (Phase.RUNNING, Phase.ENDED):
            run.has_begun.set()
            if run.collecting is None:
                collector = self._collector(run)
                run.output_failed = collector.failed
                run.collecting = self._chores.do(collector.run(), name=f"output of {run.ref.name}")
        if sighting.phase in (Phase.ENDED, Phase.GONE) and not run.is_finishing:
            run.is_finishing = True
            self._chores.do(self._finish(run, sighting), name=f"end of {run.ref.name}")

    def _collector(self, run: Run) -> OutputCollector:
        return OutputCollector(
            self._engine,
            run.ref,
            run.kept,
            pause=self._pause,
            file_work=self._file_work,
            limit_bytes=self._output_limit_bytes,
            held=self._held,
        )

    async def _finish(self, run: Run, sighting: Sighting) -> None:
        """Keep the rest of its output, note how it ended, tell it, and remove the workload."""
        await self._held()
        try:
            if run.collecting is not None:
                await drained(run.collecting, run.output_failed, is_gone=sighting.phase is Phase.GONE)
            result = await self._file_work.do(partial(judge, sighting, run.kept))
            await self._keep_end(run.kept, End(result, run.node))
        except Exception as error:  # whoever waits for the end must not wait for ever
            text = f"the runtime failed ({type(error).__name__})"
            run.finish(ExitResult(succeeded=False, message=text, is_fault=True, detail=str(error)))
            raise
        self._removals.do(self._remove(run.ref), name=f"removal of {run.ref.name}")
        run.finish(result)

    async def _keep_end(self, kept: KeptRun, end: End) -> None:
        """Note the end; while the disk is full, again and again: without it the workload must not be removed."""
        while True:
            try:
                await self._file_work.do(partial(kept.end, end))
            except OSError as error:
                if not kept.exists:
                    return  # its job is deleted
                logger.error("%s: its end cannot be noted, trying again: %s", kept.directory, error.strerror)
                await self._pause()
            else:
                return

    async def _remove(self, ref: Ref) -> None:
        while True:
            try:
                await self._engine.remove(ref)
            except EngineUnavailable:
                await self._pause()
            else:
                return

    async def _sweep(self) -> None:
        """Remove what an earlier server has left: workloads whose end is kept."""
        await self._seen_all()
        for sighting in list(self._seen.values()):
            ref = sighting.ref
            kept = self._kept.of(ref.key, ref.replica)
            if sighting.phase is Phase.ENDED and await self._file_work.do(kept.ended) is not None:
                await self._remove(ref)

    async def _insist(self, ask: Callable[[], Awaitable[T]], own: HostedParty, key: PartyKey) -> T:
        """Ask the engine until it answers, and tell meanwhile why the party waits. StartFailed once it is stopped."""
        while True:
            if own.is_stopped:
                raise StartFailed("stopped while it was being started")
            try:
                return await ask()
            except EngineUnavailable as error:
                self._on_waiting(key, str(error))
                await self._pause()

    async def _seen_all(self) -> None:
        """Wait until the engine has told all that exists, however long it cannot be reached."""
        while True:
            try:
                await self._engine.seen_all()
            except EngineUnavailable:
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        await pause(RETRY_SECONDS, clock=self._clock)

    def _party(self, key: PartyKey) -> HostedParty:
        return self._parties.setdefault(key, HostedParty())

    def _gang(self, party: PartySpec) -> Gang:
        place = (party.key.job, party.key.task, party.key.attempt)
        return self._gangs.setdefault(place, Gang(len(party.task.parties)))

    def _forget(self, key: PartyKey) -> None:
        """Nothing of the party runs."""
        self._parties.pop(key, None)
        place = (key.job, key.task, key.attempt)
        if not any((known.job, known.task, known.attempt) == place for known in self._parties):
            self._gangs.pop(place, None)
