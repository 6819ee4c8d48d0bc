"""Kills the server at random moments under load, round after round: `python -m tests.faults.soak --rounds 200`.

At the end it is suspended for a minute, as a laptop is that was closed.

Real programs run meanwhile and leave a mark for each run. The seed, which is printed, repeats all choices; what the
machine does with them differs each time.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from random import Random

import grpc
import grpc.aio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.database import Records, read_checked
from tests.support.images import write_image
from tests.support.polling import eventually, eventually_true
from tests.support.ports import free_range
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer, running_server
from tests.support.watcher import Watcher

PORTS = 12
CALLERS = 4
JOBS_PER_ROUND = 6
CALLS_PER_ROUND = 40
CHOSEN_FROM = 12
LOAD_SECONDS = 0.6
SETTLE_SECONDS = 60.0
UNKNOWN_JOB = 11202
# A run leaves a line, and another one where it finds that something runs under its task id in its domain still.
MARK = (
    'exec 9>>"$KUSCIAJOB_DOMAIN_DIR/$TASK_ID.lock"; '
    'flock -n 9 || echo "$PWD" >>"$KUSCIAJOB_DOMAIN_DIR/overlaps"; '
    'echo "$PWD" >>"$KUSCIAJOB_DOMAIN_DIR/runs"; '
)

logger = logging.getLogger(__name__)


class Soak:
    """The load of all rounds and what the server has acknowledged; `check` raises AssertionError."""

    def __init__(self, server: RunningServer, directory: Path, *, seed: int) -> None:
        self._server = server
        self._domains = directory / "domains"
        self._random = Random(seed)
        self._watcher = Watcher(server)
        self._serial = 0
        self._calls_left = 0
        self._jobs_left = 0
        self.created: set[str] = set()
        """Acknowledged."""
        self.deleting: set[str] = set()
        """Asked for, whatever came of it."""
        self.deleted: set[str] = set()
        """Acknowledged."""
        self._names: dict[str, str] = {}
        """What each job's task ids begin with; the name of a deleted job is taken by another one."""
        self._free_names: list[str] = []
        self._unchecked: set[str] = set()
        """Deleted since the last check, which cannot ask for each of thousands again."""
        self.calls: Counter[str] = Counter()
        """By method and outcome."""

    async def run_round(self) -> None:
        """Load, kill at some moment, start again (and die once more while starting, now and then), check.

        Sometimes the shim is killed as well, before the server or after it.
        """
        callers = await self._begin_load()
        victims = self._random.choices(
            ((self._server.kill,), (self._kill_shim, self._server.kill), (self._server.kill, self._kill_shim)),
            (8, 1, 1),
        )[0]
        for kill in victims:
            await kill()
        self._jobs_left = self._calls_left = 0
        await asyncio.gather(*callers)
        if self._random.random() < 0.25:
            await self._die_while_starting()
        await self._server.start()
        await self.check()

    async def run_suspension(self, seconds: float) -> None:
        """Load, suspend the server for so long and let it go on; every call is answered, no stream breaks, check."""
        callers = await self._begin_load()
        self._server.process.send_signal(signal.SIGSTOP)
        try:
            asked = asyncio.ensure_future(create(self._server.stub, job_request("job-0", task_request("t", "quick"))))
            _, pending = await asyncio.wait([asked], timeout=seconds)
            assert pending, "a suspended server answers nobody"
        finally:
            self._server.process.send_signal(signal.SIGCONT)
        await asked
        self.created.add("job-0")
        unanswered = self._unanswered
        await asyncio.gather(*callers)
        assert self._unanswered == unanswered, "the suspended server has lost calls"
        await eventually_true(self._watcher_agrees, timeout_seconds=SETTLE_SECONDS)
        await self.check()

    async def check(self) -> None:
        """What was acknowledged is so, and a watcher that has connected again comes to agree with queries."""
        await self._server.channel.channel_ready()
        await self._watcher.connect()
        for job_id in self._unchecked:
            response = await self._server.stub.QueryJob(pb.QueryJobRequest(job_id=job_id))
            assert response.status.code == UNKNOWN_JOB, f"{job_id} was deleted and is back"
        self._unchecked.clear()
        if kept := sorted(self.created - self.deleting):
            summaries = await self._server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=kept))
            assert summaries.status.code == 0, f"created and gone: {summaries.status.message}"
        await eventually_true(self._watcher_agrees, timeout_seconds=SETTLE_SECONDS)

    async def end(self) -> Records:
        """Stop what runs, then look at everything once more: nothing may be left."""
        stub = self._server.stub
        for job_id in self._watcher.jobs:
            await stub.StopJob(pb.StopJobRequest(job_id=job_id, reason="the end"))
        for job_id in list(self._watcher.jobs):
            await ended(stub, job_id, timeout_seconds=SETTLE_SECONDS)
        self._unchecked = set(self.deleted)
        await self.check()
        # A job that needs every port there is can run only when no reservation is left.
        await create(stub, job_request("all-ports", task_request("t", "all-ports", ["alice"])))
        status = await ended(stub, "all-ports", timeout_seconds=SETTLE_SECONDS)
        assert status.state == "Succeeded", status.err_msg
        await self._watcher.close()
        await self._server.stop()
        await eventually(lambda: not self._server.left_processes())

        records = read_checked(self._server.data_dir / "jobs.db")
        kept = {int(entry.name) for entry in (self._server.data_dir / "runs").iterdir()}
        assert kept <= set(records.jobs), "directories of deleted jobs are left"
        marks = self._marks()
        assert [run for run, count in marks.items() if count > 1] == [], "these ran twice"
        assert list(self._domains.glob("*/overlaps")) == [], "one ran beside what was to be gone"
        assert records.succeeded_runs() - set(marks) == set(), "these are told to have succeeded and never ran"
        return records

    @property
    def _unanswered(self) -> int:
        return sum(count for name, count in self.calls.items() if name.endswith("unanswered"))

    async def _begin_load(self) -> list[asyncio.Task[None]]:
        """Callers that have been at work for a while; most are still."""
        self._calls_left, self._jobs_left = CALLS_PER_ROUND, JOBS_PER_ROUND
        callers = [asyncio.create_task(self._call_at_random()) for _ in range(CALLERS)]
        await asyncio.wait(callers, timeout=self._random.uniform(0, LOAD_SECONDS))
        return callers

    async def _watcher_agrees(self) -> bool:
        known = dict(self._watcher.jobs)
        if not self.created - self.deleting <= set(known) or self.deleted & set(known):
            return False
        if not known:
            return True
        response = await self._server.stub.BatchQueryJobStatus(pb.BatchQueryJobStatusRequest(job_ids=list(known)))
        return {job.job_id: job.status for job in response.data.jobs} == known

    async def _kill_shim(self) -> None:
        with suppress(StopIteration, ProcessLookupError):  # there is none
            os.kill(self._server.shim_pid, signal.SIGKILL)

    async def _die_while_starting(self) -> None:
        starting = asyncio.create_task(self._server.start())
        await asyncio.wait([starting], timeout=self._random.uniform(0.1, 1.0))
        await self._server.kill()
        with suppress(AssertionError):  # it says that the server has ended
            await starting

    async def _call_at_random(self) -> None:
        stub = self._server.stub
        while self._calls_left > 0:
            self._calls_left -= 1
            kind = self._random.choices(
                ("CreateJob", "DeleteJob", "StopJob", "RestartJob", "SuspendJob", "CancelJob"), (8, 1, 1, 3, 1, 1)
            )[0]
            if kind == "CreateJob":
                if self._jobs_left > 0:
                    self._jobs_left -= 1
                    await self._create()
                continue
            recent = sorted(self.created - self.deleting, key=_serial_of)[-CHOSEN_FROM:]
            if not recent:
                continue
            job_id = self._random.choice(recent)
            if kind == "DeleteJob":
                self.deleting.add(job_id)
            request = getattr(pb, f"{kind}Request")(job_id=job_id)
            call = getattr(stub, kind)(request)
            if await self._ask(kind, call) and kind == "DeleteJob":
                self.deleted.add(job_id)
                self._unchecked.add(job_id)
                self._free_names.append(self._names[job_id])

    async def _create(self) -> None:
        self._serial += 1
        job_id = f"job-{self._serial}"
        images = self._random.choices(("quick", "short", "failing", "endless", "deaf"), (4, 4, 2, 1, 1), k=2)
        takes_over = bool(self._free_names) and self._random.random() < 0.7
        name = self._names[job_id] = self._free_names.pop() if takes_over else job_id
        depends = ["first"] if self._random.random() < 0.5 else []
        request = job_request(
            job_id,
            task_request("first", images[0], task_id=f"{name}-first"),
            task_request("second", images[1], task_id=f"{name}-second", dependencies=depends),
            max_parallelism=2,
        )
        if await self._ask("CreateJob", self._server.stub.CreateJob(request)):
            self.created.add(job_id)

    async def _ask(self, kind: str, call: Awaitable[pb.CreateJobResponse]) -> bool:
        """Whether the server acknowledged it; without an answer nobody knows."""
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            self.calls[f"{kind} unanswered"] += 1
            return False
        is_done = response.status.code == 0
        self.calls[f"{kind} {'done' if is_done else 'refused'}"] += 1
        return is_done

    def _marks(self) -> Counter[str]:
        """How often each run took place."""
        marks: Counter[str] = Counter()
        runs = self._server.data_dir / "runs"
        for file in self._domains.glob("*/runs"):
            marks.update("/".join(Path(line).relative_to(runs).parts[:3]) for line in file.read_text().splitlines())
        return marks


def _serial_of(job_id: str) -> int:
    return int(job_id.rpartition("-")[2])


async def soak(
    directory: Path, *, rounds: int, seed: int, seconds: float = float("inf"), suspend_seconds: float = 0.0
) -> str:
    """So many rounds, or fewer when the time is over, then a suspension of the server unless that is to last 0 s.

    Returns what was done, in one line. AssertionError names the seed.
    """
    images = directory / "images"
    write_image(images, "quick", ["sh", "-c", MARK], ports=["main"])
    write_image(images, "short", ["sh", "-c", f"{MARK} sleep 0.3"], ports=["main"])
    write_image(images, "failing", ["sh", "-c", f"{MARK} exit 3"], ports=["main"])
    write_image(images, "endless", ["sh", "-c", f"{MARK} exec sleep 600"], ports=["main"])
    write_image(images, "deaf", ["sh", "-c", f"trap '' TERM; {MARK} exec sleep 600"], ports=["main"])
    write_image(images, "all-ports", ["sh", "-c", MARK], ports=[f"port-{number}" for number in range(PORTS)])
    ports = free_range(PORTS)
    deadline = time.monotonic() + seconds
    done = 0
    async with running_server(
        directory,
        app_image_dir=images,
        domains_dir=directory / "domains",
        stop_grace_seconds=0.5,
        first_port=ports[0],
        last_port=ports[-1],
    ) as server:
        load = Soak(server, directory, seed=seed)
        try:
            await load.check()
            while done < rounds and time.monotonic() < deadline:
                await load.run_round()
                done += 1
                if done % 10 == 0:
                    logger.info("%d rounds", done)
            if suspend_seconds > 0:
                logger.info("suspended for %g s", suspend_seconds)
                await load.run_suspension(suspend_seconds)
            records = await load.end()
        except Exception as error:
            error.add_note(f"seed {seed}, round {done + 1}")
            raise
    runs = len(records.succeeded_runs())
    calls = ", ".join(f"{count} {name}" for name, count in sorted(load.calls.items()))
    return f"{done} rounds, seed {seed}: {len(records.history)} jobs, {runs} runs succeeded, {calls}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=900.0, help="begin no round after that time")
    parser.add_argument("--suspend-seconds", type=float, default=60.0, help="then suspend the server once for so long")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logger.info("seed %d", arguments.seed)
    with tempfile.TemporaryDirectory(prefix="kusciajob-soak-") as directory:
        done = soak(
            Path(directory),
            rounds=arguments.rounds,
            seed=arguments.seed,
            seconds=arguments.seconds,
            suspend_seconds=arguments.suspend_seconds,
        )
        logger.info(asyncio.run(done))


if __name__ == "__main__":
    main()
