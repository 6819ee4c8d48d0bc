"""A morning at two hospitals and a lab: jobs of real programs in every state, for pictures of the page."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob._gen.kusciajob.v1 import jobs_pb2, jobs_pb2_grpc
from tests.support.images import python_program, write_image
from tests.support.polling import eventually_true
from tests.support.requests import ended, in_state, task_request
from tests.support.server import RunningServer

PROGRAM = python_program(
    "import json, os, sys, time\n"
    "domain = os.environ['KUSCIA_DOMAIN_ID']\n"
    "script = json.loads(json.load(open('conf/task.json'))['input'])\n"
    "for line in script['says']:\n"
    "    print(line.replace('{domain}', domain), flush=True)\n"
    "    time.sleep(0.05)\n"
    "if domain in script.get('fails', {}):\n"
    "    print(script['error'], file=sys.stderr, flush=True)\n"
    "    sys.exit(script['fails'][domain])\n"
    "time.sleep(script.get('seconds', 0))\n"
)
IMAGES = ("prepare", "psi", "statistics", "train", "evaluate", "report")
PSI = (
    "[psi] {domain}: 131,072 rows read",
    "[psi] {domain}: connected to the other party",
    "[psi] {domain}: 65,536 of 131,072 keys exchanged",
    "[psi] {domain}: 131,072 of 131,072 keys exchanged",
)
RUNNING, FAILED, DONE = "fraud-model-1127", "credit-psi-1127", "screening-1126"


def images(directory: Path) -> Path:
    """A directory with the AppImages of these jobs."""
    for name in IMAGES:
        write_image(directory / "images", name, PROGRAM, ports=["peer"])
    return directory / "images"


def task(
    alias: str,
    app_image: str,
    *after: str,
    domains: Sequence[str] = ("alice", "bob"),
    tolerable: bool = False,
    **does: Any,
) -> pb.Task:
    """A task whose programs say something, take some time, and may fail."""
    script = {"says": [f"[{app_image}] {{domain}}: begins", f"[{app_image}] {{domain}}: done"], **does}
    made = task_request(alias, app_image, domains, dependencies=after, task_input_config=json.dumps(script))
    made.tolerable = tolerable
    return made


def _train(job_id: str, seconds: float) -> list[pb.Task]:
    return [
        task("prepare", "prepare", domains=("alice", "bob", "carol"), seconds=0.4),
        task("intersect", "psi", "prepare", says=PSI, seconds=0.7),
        task("statistics", "statistics", "intersect", seconds=0.3),
        task("features", "prepare", "intersect", domains=("alice", "carol"), seconds=0.5),
        task("train", "train", "statistics", "features", says=PSI, seconds=seconds),
        task("evaluate", "evaluate", "train"),
        task("report", "report", "evaluate", domains=("alice",), tolerable=True),
    ]


def _failing() -> list[pb.Task]:
    full = "[psi] ERROR: /data is full: 0 bytes of 20 GB are left"
    return [
        task("prepare", "prepare", seconds=0.3),
        task("intersect", "psi", "prepare", says=PSI[:3], error=full, fails={"bob": 28}, seconds=600),
        task("train", "train", "intersect"),
        task("report", "report", "train", domains=("alice",), tolerable=True),
    ]


async def tell(server: RunningServer) -> None:
    """Let it happen: some jobs have ended, one runs, others wait."""
    jobs = jobs_pb2_grpc.JobsServiceStub(server.channel)

    async def submit(job_id: str, tasks: Sequence[pb.Task], initiator: str = "alice", **fields: Any) -> None:
        job = pb.CreateJobRequest(job_id=job_id, initiator=initiator, tasks=tasks, max_parallelism=4)
        await jobs.SubmitJob(jobs_pb2.SubmitJobRequest(job=job, **fields))

    for day in range(20, 26):
        await submit(f"nightly-report-11{day}", [task("report", "report")], initiator="bob")
        await submit(f"claims-check-11{day}", [task("check", "psi"), task("report", "report", "check")])
    await submit(DONE, _train(DONE, 0.6), initiator="carol", labels={"project": "screening"})
    await submit("cancelled-trial", [task("train", "train", seconds=600)], initiator="bob")
    retry = jobs_pb2.Retry(max_attempts=2, first_backoff=Duration(seconds=1))
    policies = {"intersect": jobs_pb2.TaskPolicy(retry=retry)}
    await submit(FAILED, _failing(), task_policies=policies, labels={"project": "credit"})
    await submit("suspended-study", [task("collect", "prepare", seconds=600)], initiator="carol")
    await asyncio.gather(in_state(server.stub, "suspended-study", "Running"), ended(server.stub, FAILED))
    await server.stub.SuspendJob(pb.SuspendJobRequest(job_id="suspended-study", reason="carol's table is being mended"))
    await server.stub.CancelJob(pb.CancelJobRequest(job_id="cancelled-trial", reason="wrong table"))
    await ended(server.stub, DONE)
    await submit(RUNNING, _train(RUNNING, 600), labels={"project": "fraud"})

    async def trains() -> bool:
        job = (await jobs.GetJob(jobs_pb2.GetJobRequest(job_id=RUNNING))).job
        return any(each.alias == "train" and each.state == "Running" for each in job.tasks)

    await eventually_true(trains)


WRONG = """job_id: fraud-model-1128
initiator: alice
tasks:
- alias: intersect
  app_image: psi
  parties: [{domain_id: alice}, {domain_id: bob}]
- alias: train
  app_image: trian
  parties: [{domain_id: alice}, {domain_id: bob}]
  dependencies: [intersekt]
"""
