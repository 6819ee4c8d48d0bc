"""The whole API against a model of it that knows nothing of the server's code, across restarts of the server."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.fuzz.budget import examples
from tests.fuzz.edge import Edge
from tests.support.polling import PATIENCE_SECONDS, eventually_true

pytestmark = pytest.mark.hostile

JOBS = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService"
IDS = ["a", "b", "c"]
SCRIPTS = {"long": '{"seconds": 600}', "good": "", "bad": '{"exit_code": 1}'}
APPLY, NOTHING, REFUSE = "apply", "nothing", "refuse"
STATES = ("AwaitingApproval", "Running", "Succeeded", "Failed", "ApprovalReject", "Cancelled", "Suspended")
# From section 4 of the contract; in the order of STATES. A job that can run is Running before a test can ask.
EFFECTS = {
    "Stop": (APPLY, APPLY, NOTHING, NOTHING, NOTHING, NOTHING, APPLY),
    "Cancel": (APPLY, APPLY, NOTHING, APPLY, NOTHING, NOTHING, APPLY),
    "Suspend": (REFUSE, APPLY, REFUSE, REFUSE, REFUSE, REFUSE, REFUSE),
    "Restart": (REFUSE, REFUSE, REFUSE, APPLY, REFUSE, REFUSE, APPLY),
    "Accept": (APPLY, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    "Reject": (APPLY, REFUSE, REFUSE, REFUSE, REFUSE, REFUSE, REFUSE),
}
REFUSED = {"Suspend": 11210, "Restart": 11211, "Reject": 11206}
UNKNOWN = {"Stop": 11205, "Cancel": 11209, "Suspend": 11207, "Restart": 11208, "Approve": 11206, "Delete": 11204}
APPROVE = {"Accept": 1, "Reject": 2}
OUTCOMES = {"long": "Running", "good": "Succeeded", "bad": "Failed"}
OUTCOME_OF = {"Stop": "Failed", "Cancel": "Cancelled", "Suspend": "Suspended"}


@dataclass
class Known:
    """What the model knows of a job."""

    request: pb.CreateJobRequest
    scripts: list[str]
    state: str
    accepted: bool
    task_ids: list[str] = field(default_factory=list)

    def runs(self) -> str:
        """The state that the job comes to by itself: every task depends on the one before it."""
        return next((OUTCOMES[script] for script in self.scripts if script != "good"), "Succeeded")

    def is_at_its_long_task(self, states: list[str]) -> bool:
        """Whether the first task that goes on for long is there; a job is Running between two tasks as well."""
        return states[self.scripts.index("long")] == "Running"


class Life(RuleBasedStateMachine):
    """Every rule asks the server, then says what the model expects of it."""

    @initialize(needs_approval=st.booleans())
    def begin(self, needs_approval: bool) -> None:
        self.needs_approval = needs_approval
        self.directory = Path(tempfile.mkdtemp())
        self.edge = Edge(self.directory, require_approval=needs_approval, http_port=-1)
        self.edge.__enter__()
        self.jobs: dict[str, Known] = {}
        self.head = 0

    def teardown(self) -> None:
        if hasattr(self, "edge"):
            self.edge.__exit__()
            shutil.rmtree(self.directory)

    def ask(self, call: str, **fields: Any) -> Any:
        request, response = getattr(pb, f"{call}Request"), getattr(pb, f"{call}Response")
        return self.edge.call(f"{JOBS}/{call}", request(**fields), response)

    def told(self, job_id: str) -> pb.QueryJobResponseData:
        response = self.ask("QueryJob", job_id=job_id)
        assert response.status.code == 0, response.status
        return response.data  # type: ignore[no-any-return]

    def settle(self, job_id: str) -> None:
        """Wait until the server says what the model does."""
        job = self.jobs[job_id]

        async def agrees() -> bool:
            ask = pb.QueryJobRequest(job_id=job_id).SerializeToString()
            _, answers = await self.edge.ask(f"{JOBS}/QueryJob", ask)
            status = pb.QueryJobResponse.FromString(answers[0]).data.status
            states = [task.state for task in status.tasks]
            return status.state == job.state and (job.state != "Running" or job.is_at_its_long_task(states))

        self.edge.run(eventually_true(agrees))

    @rule(
        job_id=st.sampled_from(IDS),
        scripts=st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=1, max_size=3),
        parallelism=st.integers(0, 2),
    )
    def create(self, job_id: str, scripts: list[str], parallelism: int) -> None:
        tasks = [
            pb.Task(
                alias=f"t{number}",
                app_image="any",
                parties=[pb.Party(domain_id="alice"), pb.Party(domain_id="bob")],
                dependencies=[f"t{number - 1}"] if number else [],
                task_input_config=SCRIPTS[script],
            )
            for number, script in enumerate(scripts)
        ]
        request = pb.CreateJobRequest(job_id=job_id, initiator="alice", tasks=tasks, max_parallelism=parallelism)
        response = self.edge.call(f"{JOBS}/CreateJob", request, pb.CreateJobResponse)
        known = self.jobs.get(job_id)
        if known is None:
            assert response.status.code == 0, response.status
            job = Known(request, scripts, "AwaitingApproval", accepted=not self.needs_approval)
            self.jobs[job_id] = job
            if job.accepted:
                job.state = job.runs()
            self.settle(job_id)
            job.task_ids = [task.task_id for task in self.told(job_id).tasks]
        else:
            same = known.scripts == scripts and max(known.request.max_parallelism, 1) == max(parallelism, 1)
            assert response.status.code == (0 if same else 11201), response.status

    @rule(job_id=st.sampled_from(IDS), operation=st.sampled_from(sorted(EFFECTS)))
    def operate(self, job_id: str, operation: str) -> None:
        result = {"result": APPROVE[operation]} if operation in APPROVE else {}
        call = "Approve" if operation in APPROVE else operation
        response = self.ask(f"{call}Job", job_id=job_id, reason="why", **result)
        job = self.jobs.get(job_id)
        if job is None:
            assert response.status.code == UNKNOWN[call], response.status
            return
        effect = EFFECTS[operation][STATES.index(job.state)]
        assert response.status.code == (REFUSED[operation] if effect == REFUSE else 0), (job.state, response.status)
        if effect == APPLY:
            if operation in APPROVE:
                job.accepted = operation == "Accept"
                job.state = job.runs() if job.accepted else "ApprovalReject"
            elif operation == "Restart":
                job.state = job.runs() if job.accepted else "AwaitingApproval"
            else:
                job.state = OUTCOME_OF[operation]
            self.settle(job_id)

    @rule(job_id=st.sampled_from(IDS))
    def delete(self, job_id: str) -> None:
        response = self.ask("DeleteJob", job_id=job_id)
        assert response.status.code == (0 if self.jobs.pop(job_id, None) else UNKNOWN["Delete"]), response.status

    @rule(job_ids=st.lists(st.sampled_from(IDS), max_size=4))
    def ask_for_many(self, job_ids: list[str]) -> None:
        response = self.ask("BatchQueryJobStatus", job_ids=job_ids)
        missing = [job_id for job_id in job_ids if job_id not in self.jobs]
        assert response.status.code == (11100 if not job_ids else 11203 if missing else 0)
        assert all(f'"{job_id}"' in response.status.message for job_id in missing)
        if response.status.code == 0:
            told = [(job.job_id, job.status.state) for job in response.data.jobs]
            assert told == [(job_id, self.jobs[job_id].state) for job_id in job_ids]

    @precondition(lambda self: self.jobs)
    @rule()
    def restart_server(self) -> None:
        self.edge.stop()
        self.edge.start()
        for job_id in self.jobs:
            self.settle(job_id)

    @precondition(lambda self: self.jobs)
    @rule()
    def watch(self) -> None:
        """The replay is what the model knows, in full and once."""

        async def replay() -> list[pb.WatchJobEventResponse]:
            events: list[pb.WatchJobEventResponse] = []
            call = self.edge.watch()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(events) < len(self.jobs):
                    events.append(pb.WatchJobEventResponse.FromString(await call.read()))
            call.cancel()
            return events

        events = self.edge.run(replay())
        assert all(event.type == pb.ADDED for event in events)
        assert {event.object.job_id: event.object.status.state for event in events} == {
            job_id: job.state for job_id, job in self.jobs.items()
        }

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        if not hasattr(self, "edge"):
            return
        for job_id in IDS:
            response = self.ask("QueryJob", job_id=job_id)
            job = self.jobs.get(job_id)
            assert response.status.code == (0 if job else 11202)
            if job is not None:
                self.check(job, response.data)
        head = self.edge.head()
        assert head >= self.head
        self.head = head
        assert not self.edge.faults, self.edge.faults

    def check(self, job: Known, told: pb.QueryJobResponseData) -> None:
        status = told.status
        assert status.state == job.state
        assert [task.task_id for task in told.tasks] == job.task_ids
        assert [task.task_id for task in status.tasks] == job.task_ids
        is_over = job.state in ("Succeeded", "Failed", "Cancelled", "ApprovalReject")
        assert bool(status.end_time) == is_over
        assert bool(status.err_msg) >= (is_over and job.state != "Succeeded")
        states = [task.state for task in status.tasks]
        if job.state == "Succeeded":
            assert set(states) == {"Succeeded"}
        if job.state == "Running":
            assert job.is_at_its_long_task(states)
        if is_over or job.state in ("Suspended", "AwaitingApproval"):
            assert "Running" not in states


Life.TestCase.settings = examples(8, stateful_step_count=25)
TestLife = Life.TestCase
