"""`python -m benchmarks.kubernetes [--rounds N] [--pods N]`: pods against a bare loop that applies the same ones.

On the cluster of KUBECONFIG, or on the lab of tests/cluster. Rounds of both alternate. The memory is that of a server
on a lab of its own with nodes that only pretend.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.contracts import PartyKey
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import names
from kusciajob.runtime.hosted.engine import Program, Ref, Workload
from kusciajob.runtime.kubernetes import objects
from kusciajob.runtime.kubernetes.api import Api
from kusciajob.runtime.kubernetes.pods import Pod
from kusciajob.runtime.kubernetes.watch import Watch
from tests.cluster.cluster import DOMAINS, IMAGE, LAB, NAMESPACE, Cluster, ClusterLab, Found, cache_directory
from tests.conformance.runtime_suite import started
from tests.support.polling import eventually
from tests.support.runtime_lab import task_of
from tests.support.server import running_server

SCRIPT = "sleep 1"
BARE = "bench-bare"
FAKE_PORT = 21530
PATIENCE_SECONDS = 600.0


def appimage() -> str:
    image = IMAGE.rpartition(":")
    container = {"name": "main", "command": ["/bin/sh", "-c", SCRIPT]}
    return json.dumps(
        {
            "apiVersion": "kuscia.secretflow/v1alpha1",
            "kind": "AppImage",
            "metadata": {"name": "sleep"},
            "spec": {
                "image": {"name": image[0], "tag": image[2]},
                "deployTemplates": [{"name": "any", "spec": {"containers": [container]}}],
            },
        }
    )


def job(job_id: str) -> pb.CreateJobRequest:
    parties = [pb.Party(domain_id=domain) for domain in DOMAINS[:2]]
    return pb.CreateJobRequest(
        job_id=job_id,
        initiator=DOMAINS[0],
        max_parallelism=1,
        tasks=[pb.Task(alias="sleep", app_image="sleep", parties=parties)],
    )


async def bare(api: Api, number: int) -> tuple[float, float]:
    """Seconds from the first request to the first running pod, and to the end of both."""
    running: set[str] = set()
    ended: set[str] = set()

    def see(pod: Pod) -> None:
        running.update({pod.metadata.name} if pod.status.phase != "Pending" else ())
        ended.update({pod.metadata.name} if pod.is_terminal else ())

    query = {"labelSelector": f"{objects.STORE}={names.short(BARE)}"}
    watch = Watch(api, "/api/v1/pods", Pod, seen=see, query=query)
    watching = asyncio.create_task(watch.run())
    await watch.listed.wait()
    running.clear()
    ended.clear()
    begun = time.monotonic()
    made = [manifest(number, party) for party in range(2)]
    await asyncio.gather(
        *(
            api.create(f"/api/v1/namespaces/{NAMESPACE.format(domain=domain)}/pods", each, Found)
            for domain, each in made
        )
    )
    await eventually(lambda: running, timeout_seconds=PATIENCE_SECONDS)
    first = time.monotonic() - begun
    await eventually(lambda: len(ended) == 2, timeout_seconds=PATIENCE_SECONDS)
    both = time.monotonic() - begun
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for domain, each in made:
        path = f"/api/v1/namespaces/{NAMESPACE.format(domain=domain)}/pods/{each['metadata']['name']}"
        await api.delete(path, grace_seconds=0)
    return first, both


def manifest(number: int, party: int) -> tuple[str, objects.Manifest]:
    """The pod that the server would make, without its gate and its owner."""
    key = PartyKey(number, 0, 0, party)
    domain = DOMAINS[party]
    ref = Ref(names.of_replica(BARE, key, 0), names.of_task(BARE, key), key, 0, domain)
    program = Program("main", IMAGE, command=("/bin/sh", "-c", SCRIPT))
    made = objects.pod(Workload(ref, BARE, "t", DomainSettings(domain_id=domain), (program,)), objects.Rules())
    del made["spec"]["schedulingGates"]
    return domain, made


async def ours(server: Any, number: int) -> tuple[float, float]:
    """The same by a job: from its creation to the first running task, and to its success."""
    job_id = f"job-{number}"
    call = server.stub.WatchJob(pb.WatchJobRequest(), wait_for_ready=True)
    await call.initial_metadata()
    begun = time.monotonic()
    first = 0.0
    await server.stub.CreateJob(job(job_id))
    async for event in call:
        if event.object.job_id != job_id:
            continue
        states = [party.state for task in event.object.status.tasks for party in task.parties]
        if not first and any(state in ("Running", "Succeeded") for state in states):
            first = time.monotonic() - begun
        if event.object.status.state == "Succeeded":
            both = time.monotonic() - begun
            call.cancel()
            return first, both
        assert event.object.status.state != "Failed", event.object.status
    raise AssertionError("the watch has ended")


async def latency(cluster: Cluster, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kusciajob-bench-") as place:
        lab = ClusterLab(Path(place), cluster)
        lab.has_data = False
        await lab.start()
        images = Path(place, "images")
        images.mkdir()
        (images / "sleep.json").write_text(appimage())
        async with running_server(
            Path(place),
            runtime="kubernetes",
            kube_config=cluster.kubeconfig,
            namespace=NAMESPACE,
            app_image_dir=images,
            stop_grace_seconds=1,
        ) as server:
            pairs = []
            for number in range(1, rounds + 1):
                pairs.append((await bare(lab.api, number), await ours(server, number)))
            for at, name in enumerate(("create -> first party Running", "create -> Succeeded")):
                floor = median(pair[0][at] for pair in pairs)
                own = median(pair[1][at] for pair in pairs)
                ratio = median(pair[1][at] / pair[0][at] for pair in pairs)
                print(f"{name}: {own:.2f} s, bare loop {floor:.2f} s, ratio {ratio:.2f} ({rounds} rounds)", flush=True)
        await requests(lab)
        await lab.close()


async def requests(lab: ClusterLab) -> None:
    """How many requests the API server gets for a party, from its start until nothing is left of it."""
    engine = lab.connect()
    runtime = await lab.open(store_id="bench-requests", engine=engine)
    tasks = 5
    parties = []
    for number in range(1, tasks + 1):
        parties += await started(runtime, task_of(lab, [SCRIPT, SCRIPT], job=number))
    await asyncio.gather(*(runtime.wait(party.key) for party in parties))
    for party in parties:
        await lab.gone(party.key, store_id="bench-requests")
    print(f"API requests per party: {engine._api.requests / len(parties):.1f}, watches and output included", flush=True)


@asynccontextmanager
async def pretending_nodes(directory: Path) -> AsyncIterator[Path]:
    """A control plane of its own with two nodes that only pretend."""
    env = {**os.environ, "KUBELAB_PORT": str(FAKE_PORT), "API_FLAGS": "--max-requests-inflight=2000"}
    subprocess.run([LAB / "up.sh", directory], check=True, env=env)
    config = directory / "admin.kubeconfig"
    nodes = await asyncio.create_subprocess_exec(sys.executable, LAB / "fakelet.py", config)
    try:
        yield config
    finally:
        nodes.terminate()
        await nodes.wait()
        subprocess.run([LAB / "down.sh", directory, "--purge"], check=True, env=env)


async def memory(pods: int) -> None:
    """The server's memory with so many pods that run, against the same server before."""
    with tempfile.TemporaryDirectory(prefix="kusciajob-bench-") as place:
        async with pretending_nodes(Path(place, "lab")) as config:
            images = Path(place, "images")
            images.mkdir()
            (images / "sleep.json").write_text(appimage())
            async with running_server(
                Path(place),
                runtime="kubernetes",
                kube_config=config,
                create_namespaces=True,
                app_image_dir=images,
            ) as server:
                before = rss_mib(server.process.pid)
                begun = time.monotonic()
                for number in range(pods // 2):
                    await server.stub.CreateJob(job(f"job-{number}"))
                api = Api(Cluster(config).credentials())
                await api.open()
                seen: set[str] = set()
                watch = Watch(
                    api,
                    "/api/v1/pods",
                    Pod,
                    seen=lambda pod: seen.add(pod.metadata.uid) if pod.status.phase == "Running" else None,
                )
                watching = asyncio.create_task(watch.run())
                await eventually(lambda: len(seen) == pods, timeout_seconds=PATIENCE_SECONDS)
                took = time.monotonic() - begun
                await asyncio.sleep(10)
                after = rss_mib(server.process.pid)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                await api.close()
                print(
                    f"server memory with {pods} running pods: {after:.0f} MiB, {before:.0f} before "
                    f"({(after - before) * 1024 / pods:.0f} KiB a pod); all ran after {took:.0f} s",
                    flush=True,
                )


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--only", choices=("latency", "memory"))
    options = parser.parse_args(words)
    if options.only != "latency":
        await memory(options.pods)
    if options.only != "memory":
        directory = Path(os.environ.get("KUSCIAJOB_LAB") or cache_directory() / "lab")
        given = os.environ.get("KUBECONFIG")
        cluster = Cluster(Path(given)) if given else Cluster(directory / "admin.kubeconfig", directory)
        if cluster.is_ours:
            cluster.start()
        try:
            await latency(cluster, options.rounds)
        finally:
            if cluster.is_ours and not os.environ.get("KUSCIAJOB_LAB"):
                cluster.stop()


if __name__ == "__main__":
    asyncio.run(main())
