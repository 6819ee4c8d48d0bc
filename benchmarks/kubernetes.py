"""`python -m benchmarks.kubernetes [--rounds N]`: what the Kubernetes runtime costs; writes benchmarks/kubernetes.json.

All runs on this machine: a cluster of its own with two nodes, which needs root, its simulated nodes for many pods, the
server, and the bare loop that it is compared with. That applies the same pods and their companions with the same API
client. Both take turns, so that a machine that slows down slows both; a ratio is the median of the rounds' ratios. The
API server's own audit log tells how many requests were made.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
from msgspec import Struct

from benchmarks import pods, report
from benchmarks.harness import NO_TARGET, Rate, Result, compare, single
from benchmarks.jobs import DOMAINS, JobMessages
from benchmarks.pods import Times
from benchmarks.servers import LOAD_CPU, SERVER_CPU, ServerProcess, kusciajob
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from tests.cluster import many
from tests.cluster.cluster import Cluster

JSON_FILE = report.DIRECTORY / "kubernetes.json"
PORT = "24500"
MANY_TASKS = 200
TASKS_PER_JOB = 100
RUNNING_PODS = 1000
FINISHED_PODS = 5000
UNKNOWN_JOB = 100_000
PATIENCE_SECONDS = 600.0
LONG_SECONDS = 20.0
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
    "rules": [{"level": "Metadata", "users": ["admin"]}],
}


class Turn(Struct, frozen=True):
    """What one of both took for its tasks."""

    times: Times
    requests: int


class Lab:
    """The cluster, and what was asked of its API server."""

    def __init__(self, directory: Path) -> None:
        policy, self._audit = directory / "policy.json", directory / "audit.log"
        policy.write_text(json.dumps(POLICY))
        lab = directory / "lab"
        flags = f"--audit-policy-file={policy} --audit-log-path={self._audit} --audit-log-maxsize=1000"
        self.cluster = Cluster(lab / "admin.kubeconfig", lab, api_flags=flags)

    def requests(self) -> int:
        """How many servers and bare loops have made so far."""
        with self._audit.open() as lines:
            return sum("aiohttp" in json.loads(line).get("userAgent", "") for line in lines)

    def counted(self, do: Callable[[], Times]) -> Turn:
        before = self.requests()
        times = do()
        return Turn(times, self.requests() - before)

    def serve(self, directory: Path, *, is_simulated: bool) -> AbstractContextManager[ServerProcess]:
        """A server whose data is kept when it is started again."""
        for name, command in (("true", ["/bin/true"]), ("long", ["/bin/sh", "-c", "sleep 100000"])):
            many.write_image(directory / "images", name, command)
        settings = many.settings_of(self.cluster, directory, is_simulated=is_simulated)
        return kusciajob(directory, cpus=(SERVER_CPU, LOAD_CPU), http_port=-1, **settings)


def two_nodes(lab: Lab, directory: Path, rounds: int) -> Iterator[Result]:
    """A task of two parties on the nodes of the lab."""
    with lab.serve(directory, is_simulated=False) as server:
        turns = _in_turns(lab, server, tasks=1, is_simulated=False, rounds=rounds)
    yield _compared("Create to first party running, two nodes", turns, lambda times: times.running)
    yield _compared("Create to Succeeded, two nodes", turns, lambda times: times.succeeded)
    yield _compared_requests("API requests per party, two nodes", turns, parties=len(DOMAINS))


def many_tasks(lab: Lab, directory: Path, rounds: int) -> Iterator[Result]:
    """As many tasks at once as keep the API server busy, on simulated nodes."""
    with lab.serve(directory, is_simulated=True) as server:
        turns = _in_turns(lab, server, tasks=MANY_TASKS, is_simulated=True, rounds=max(rounds // 2, 1))
    what = f"{MANY_TASKS} two-party tasks at once"
    yield _compared(f"{what}: create to all Succeeded", turns, lambda times: times.succeeded)
    yield _compared_requests(f"{what}: API requests per party", turns, parties=MANY_TASKS * len(DOMAINS))


def many_running(lab: Lab, directory: Path, _rounds: int) -> Iterator[Result]:
    """Pods that run and write nothing. They are left running: this comes last."""
    with lab.serve(directory, is_simulated=True) as server:
        run(server)
        server.settle()
        before = server.rss_bytes() / 1e6
        run(server, tasks=RUNNING_PODS // len(DOMAINS), image="long")
        time.sleep(LONG_SECONDS)  # the first look at all outputs is over
        memory = server.rss_bytes() / 1e6
        cpu, requests, start = server.cpu_seconds(), lab.requests(), time.perf_counter()
        time.sleep(LONG_SECONDS)
        seconds = time.perf_counter() - start
        cpu_percent = (server.cpu_seconds() - cpu) / seconds * 100
        rate = (lab.requests() - requests) / seconds
    what = f"with {RUNNING_PODS:,} running pods"
    yield single(f"RSS {what}, against none", "MB", NO_TARGET, [memory], floor=before)
    yield single(f"Processor time {what}", "% of a core", NO_TARGET, [cpu_percent])
    yield single(f"API requests {what}", "1/s", NO_TARGET, [rate])


def finished(lab: Lab, directory: Path, rounds: int) -> Iterator[Result]:
    """Pods that have ended lie about: those of another server, and those that this one has left."""

    def add(store_id: str) -> None:
        many.add_finished_pods(
            lab.cluster, FINISHED_PODS, store_id=store_id, domain_id=DOMAINS[0], first_job=UNKNOWN_JOB
        )

    def measure() -> list[float]:
        return [run(server).succeeded for _ in range(rounds + 1)][1:]

    with lab.serve(directory, is_simulated=True) as server:
        none = measure()
        add(pods.OTHER_STORE)
        others = measure()
    yield _paired(f"Create to Succeeded, {FINISHED_PODS:,} finished pods of another server, against none", none, others)
    first, after = [], []
    for is_with in (False, True):
        if is_with:
            add(many.store_id_of(directory / "data"))
        start = time.perf_counter()
        with lab.serve(directory, is_simulated=True) as server:
            first.append(time.perf_counter() - start)
            after.append(run(server).succeeded)
            pods.wait_removed(lab.cluster)
    what = f"{FINISHED_PODS:,} finished pods of its own, against none"
    yield _paired(f"Start of the server, {what}", first[:1], first[1:])
    yield _paired(f"Its first job, create to Succeeded, {what}", after[:1], after[1:])


def run(server: ServerProcess, *, tasks: int = 1, image: str = "true") -> Times:
    """Jobs of so many tasks of two parties in all, until all have succeeded, or run, as a watcher is told."""
    with grpc.insecure_channel(server.address) as channel:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)  # type: ignore[arg-type]  # its types are those of grpc.aio
        events = stub.WatchJob(pb.WatchJobRequest(), timeout=PATIENCE_SECONDS)
        start = time.perf_counter()
        left = {_create(stub, min(TASKS_PER_JOB, tasks - first), image) for first in range(0, tasks, TASKS_PER_JOB)}
        running = 0.0
        for event in events:
            job = event.object
            if job.job_id not in left:
                continue
            states = {party.state for task in job.status.tasks for party in task.parties}
            if not running and states & {"Running", "Succeeded"}:
                running = time.perf_counter() - start
            assert job.status.state not in ("Failed", "Cancelled"), job.status.err_msg
            if job.status.state == "Succeeded" or (image == "long" and states == {"Running"}):
                left.remove(job.job_id)
            if not left:
                break
        events.cancel()
        return Times(running, time.perf_counter() - start)


def _create(stub: Any, tasks: int, image: str) -> str:
    job_id = JobMessages.next_id()
    made = [
        pb.Task(alias=f"task-{at}", app_image=image, parties=[pb.Party(domain_id=domain) for domain in DOMAINS])
        for at in range(tasks)
    ]
    request = pb.CreateJobRequest(job_id=job_id, initiator=DOMAINS[0], max_parallelism=TASKS_PER_JOB, tasks=made)
    reply = stub.CreateJob(request)
    assert not reply.status.code, reply.status.message
    return job_id


def _in_turns(
    lab: Lab, server: ServerProcess, *, tasks: int, is_simulated: bool, rounds: int
) -> list[tuple[Turn, Turn]]:
    """The bare loop and the server, each after what the other has left is removed. The first turn does not count."""

    def ours() -> Times:
        times = run(server, tasks=tasks)
        pods.wait_removed(lab.cluster)
        return times

    run(server)  # it makes the namespaces
    pairs = []
    for _ in range(rounds + 1):
        bare = lab.counted(lambda: pods.apply(lab.cluster, tasks=tasks, is_simulated=is_simulated))
        pairs.append((bare, lab.counted(ours)))
    return pairs[1:]


def _compared(name: str, turns: Sequence[tuple[Turn, Turn]], of: Callable[[Times], float]) -> Result:
    return compare(name, "s", NO_TARGET, [(Rate(of(bare.times)), Rate(of(ours.times))) for bare, ours in turns])


def _compared_requests(name: str, turns: Sequence[tuple[Turn, Turn]], *, parties: int) -> Result:
    pairs = [(Rate(bare.requests / parties), Rate(ours.requests / parties)) for bare, ours in turns]
    return compare(name, "", NO_TARGET, pairs)


def _paired(name: str, before: Sequence[float], after: Sequence[float]) -> Result:
    return compare(name, "s", NO_TARGET, [(Rate(a), Rate(b)) for a, b in zip(before, after, strict=True)])


BENCHMARKS = {benchmark.__name__: benchmark for benchmark in (two_nodes, many_tasks, finished, many_running)}


def main() -> None:
    """Results of a part (`--only`) are printed, but written nowhere."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="measure this one; may be repeated")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and the cluster stops, too
    os.environ.setdefault("KUBELAB_PORT", PORT)
    results: list[Result] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kusciajob-bench-") as place:
        lab = Lab(Path(place))
        try:
            lab.cluster.start()
            lab.cluster.add_simulated_nodes(many.SIMULATED_NODES)
            for name in given.only or BENCHMARKS:
                for result in BENCHMARKS[name](lab, Path(place, name), given.rounds):
                    results.append(result)
                    print(f"{time.monotonic() - begun:5.0f} s  {result.name}", flush=True)
        finally:
            lab.cluster.stop()
    report.print_table(results, machine=f"{os.cpu_count()} cores for cluster, server and bare loop")
    if not given.only:
        report.write_json(results, JSON_FILE)


if __name__ == "__main__":
    main()
