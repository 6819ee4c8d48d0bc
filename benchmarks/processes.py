"""Jobs of real processes, against a loop that does nothing but spawn and wait.

Nobody watches and there is no load, so the server, its shim and the programs have all cores; so has the bare loop.
"""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks import jobs
from benchmarks.floors import spawn_all
from benchmarks.h2 import LoadError
from benchmarks.harness import Effort, Rate, Result, alternate, at_most, compare, percentile, ratio_at_most, single
from benchmarks.jobs import DOMAINS, JobMessages
from benchmarks.servers import LOAD_CPU, SERVER_CPU, ServerProcess, kusciajob, on_cpus
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb

TASKS = 128
MAX_PARALLELISM = 16
CHAIN_TASKS = 30
CPUS = (SERVER_CPU, LOAD_CPU)
POLL_SECONDS = 0.002
PATIENCE_SECONDS = 60.0
TRUE = ["/bin/true"]
PRINT_TIME = ["/bin/bash", "-c", "echo $EPOCHREALTIME"]
"""By the shell itself: one moment that is after the start and before the end of the program."""
SILENT = ["/bin/bash", "-c", ": $EPOCHREALTIME"]


def many(effort: Effort, directory: Path) -> Iterator[Result]:
    """A job of many short programs."""
    _write_image(directory, "true", TRUE)
    tasks = [_task(f"task-{number}", "true") for number in range(TASKS)]
    messages = JobMessages(pb.CreateJobRequest(initiator=DOMAINS[0], max_parallelism=MAX_PARALLELISM, tasks=tasks))
    processes = TASKS * len(DOMAINS)

    def bare() -> Rate:
        with on_cpus(*CPUS):
            return Rate(spawn_all(TRUE, count=processes, parallel=MAX_PARALLELISM * len(DOMAINS)))

    with kusciajob(directory, cpus=CPUS, app_image_dir=directory / "images", http_port=-1) as ours:
        runs = directory / "data" / "runs"
        pairs = alternate(effort.rounds, bare, lambda: Rate(_run(ours, messages, runs)))
    name = f"Job of {TASKS} tasks x {len(DOMAINS)} /bin/true, max_parallelism {MAX_PARALLELISM}"
    yield compare(name, "s", ratio_at_most(2.0), pairs)


def dependency(effort: Effort, directory: Path) -> Iterator[Result]:
    """From the last party of a task to those of the task that depends on it, by the clock of the programs."""
    _write_image(directory, "clock", PRINT_TIME)
    tasks = [_task(f"task-{number}", "clock", after=number - 1) for number in range(CHAIN_TASKS)]
    messages = JobMessages(pb.CreateJobRequest(initiator=DOMAINS[0], max_parallelism=1, tasks=tasks))
    runs = directory / "data" / "runs"
    gaps: list[list[float]] = []
    with kusciajob(directory, cpus=CPUS, app_image_dir=directory / "images", http_port=-1) as ours:
        for _ in range(effort.rounds):
            _run(ours, messages, runs)
            gaps.append(_gaps(max(runs.iterdir(), key=lambda job: int(job.name))))
    with on_cpus(*CPUS):
        floor_ms = median(spawn_all(SILENT, count=1, parallel=1) for _ in range(CHAIN_TASKS)) * 1e3
    for percent, limit in ((50, 5.0), (99, 30.0)):
        values = [percentile(each, percent) * 1e3 for each in gaps]
        name = f"Dependency finished to dependent started, p{percent}"
        yield single(name, "ms", at_most(limit), values, floor=floor_ms)


def _run(server: ServerProcess, messages: JobMessages, runs: Path) -> float:
    """The seconds from the request to the job's success. The server is asked for it only after its last program."""
    known = set(runs.iterdir())
    job_id = JobMessages.next_id()
    message = messages.of(job_id)
    start = time.perf_counter()
    jobs.create_one(server.address, message)
    deadline = start + PATIENCE_SECONDS
    while not any(_has_ended(directory) for directory in set(runs.iterdir()) - known):
        if time.perf_counter() > deadline:
            raise LoadError(f"the programs of job {job_id} have not ended after {PATIENCE_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    jobs.wait_succeeded(server.address, [job_id])
    return time.perf_counter() - start


def _has_ended(job: Path) -> bool:
    """Whether all of the newest task's parties have."""
    tasks = sum(1 for _ in job.iterdir())
    newest = job / f"{tasks - 1}.1"
    return tasks in (TASKS, CHAIN_TASKS) and all((newest / str(index) / "exit.json").exists() for index in (0, 1))


def _gaps(job: Path) -> list[float]:
    """For every dependent party, the seconds since the last party of the dependency."""
    times = [
        [float((job / f"{task}.1" / str(party) / "stdout.log").read_text()) for party in range(len(DOMAINS))]
        for task in range(CHAIN_TASKS)
    ]
    return [party - max(before) for before, after in pairwise(times) for party in after]


def _task(alias: str, image: str, *, after: int = -1) -> pb.Task:
    parties = [pb.Party(domain_id=domain) for domain in DOMAINS]
    return pb.Task(alias=alias, app_image=image, parties=parties, dependencies=[f"task-{after}"] if after >= 0 else [])


def _write_image(directory: Path, name: str, command: list[str]) -> None:
    container = {"name": "main", "command": command, "workingDir": "/work"}
    image = {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": name},
        "spec": {
            "image": {"name": name, "tag": "1"},
            "deployTemplates": [{"name": name, "replicas": 1, "spec": {"containers": [container]}}],
        },
    }
    (directory / "images").mkdir(parents=True)
    (directory / "images" / f"{name}.yaml").write_text(json.dumps(image))  # YAML is a superset of JSON


BENCHMARKS = (many, dependency)
