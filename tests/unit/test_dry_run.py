"""A dry run says what a submission would say, and what a runtime would execute."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2
from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.contracts import DomainFacts, PartyKey, PartySpec, StartFailed
from kusciajob.model import waiting
from kusciajob.model.appimage import AppImage, ConfigVolumeMount, Container, DeployTemplate, EnvVar, Image, Port
from kusciajob.model.errors import JobError
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.model.moves import Operation
from kusciajob.runtime.hosted import workloads
from kusciajob.runtime.process import layout
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.wire.v1.accounts import signal_name
from kusciajob.wire.v1.pages import MAX_PAGE_BYTES
from tests.support.builders import new_job
from tests.support.questions import QuestionHouse, pages_of
from tests.support.requests import job_request, task_request

ALICE, BOB = Caller("alice"), Caller("bob")

_TASKS = st.builds(
    job_pb2.Task,
    alias=st.sampled_from(["a", "b", "c", ""]),
    app_image=st.sampled_from(["app", "app", "app", ""]),
    task_id=st.sampled_from(["", "", "t-1", "taken"]),
    parties=st.lists(st.builds(job_pb2.Party, domain_id=st.sampled_from(["alice", "bob", ""])), max_size=2),
    dependencies=st.lists(st.sampled_from(["a", "b"]), max_size=1),
    task_input_config=st.sampled_from(["", "plain"]),
)
_SUBMISSIONS = st.builds(
    pb.SubmitJobRequest,
    job=st.builds(
        job_pb2.CreateJobRequest,
        job_id=st.sampled_from(["new", "there", "bobs", "Bad"]),
        initiator=st.sampled_from(["alice", "alice", "bob", ""]),
        tasks=st.lists(_TASKS, max_size=3),
    ),
    task_policies=st.dictionaries(
        st.sampled_from(["a", "z"]),
        st.builds(pb.TaskPolicy, retry=st.builds(pb.Retry, max_attempts=st.sampled_from([1, 2, 101]))),
        max_size=1,
    ),
    labels=st.dictionaries(st.sampled_from(["", "k"]), st.just("v"), max_size=1),
)


@settings(max_examples=200, deadline=None)
@given(request=_SUBMISSIONS, caller=st.sampled_from([MASTER, ALICE]), max_jobs=st.sampled_from([0, 2]))
def test_a_dry_run_finds_a_problem_exactly_where_a_submission_is_refused(
    request: pb.SubmitJobRequest, caller: Caller, max_jobs: int
) -> None:
    async def compare() -> None:
        store = MemoryStore()
        house = QuestionHouse(store, max_jobs=max_jobs)
        for job_id, initiator, task_id in (("there", "alice", "taken"), ("bobs", "bob", "")):
            task = task_request("only", domains=[initiator], task_id=task_id)
            made = pb.SubmitJobRequest(job=job_pb2.CreateJobRequest(job_id=job_id, initiator=initiator, tasks=[task]))
            await house.calls.SubmitJob(made, MASTER)
        before = await store.head(), len(await store.audit(limit=100))
        verdict = await house.calls.ValidateJob(pb.ValidateJobRequest(request=request), caller)
        assert before == (await store.head(), len(await store.audit(limit=100)))
        if not verdict.problems:
            await house.calls.SubmitJob(request, caller)
            return
        with pytest.raises(JobError):
            await house.calls.SubmitJob(request, caller)
        assert not verdict.waves
        assert not verdict.tasks

    asyncio.run(compare())


async def test_the_identical_job_is_no_problem_even_at_the_limit_of_jobs() -> None:
    house = QuestionHouse(MemoryStore(), max_jobs=1)
    request = pb.SubmitJobRequest(job=job_request("j"))
    await house.calls.SubmitJob(request, ALICE)
    assert not (await house.calls.ValidateJob(pb.ValidateJobRequest(request=request), ALICE)).problems
    request.job.job_id = "other"
    (problem,) = (await house.calls.ValidateJob(pb.ValidateJobRequest(request=request), ALICE)).problems
    assert "no more than 1 may be (setting max_jobs)" in problem.description


async def test_a_taken_task_id_is_told_without_the_job_that_has_it() -> None:
    house = QuestionHouse(MemoryStore())
    task = task_request("t", domains=["bob"], task_id="taken")
    await house.calls.SubmitJob(
        pb.SubmitJobRequest(job=job_pb2.CreateJobRequest(job_id="hidden", initiator="bob", tasks=[task])), BOB
    )
    asked = pb.SubmitJobRequest(job=job_request("hidden", task_request("t", task_id="taken")))
    answer = await house.calls.ValidateJob(pb.ValidateJobRequest(request=asked), ALICE)
    assert [(problem.field, problem.description) for problem in answer.problems] == [
        ("job_id", 'domain "alice" may not use job_id "hidden": it is taken, choose another'),
        ("tasks[0].task_id", 'task_id "taken" is taken: choose another, or leave it empty'),
    ]


def _party(**container: Any) -> PartySpec:
    main = Container(
        "main",
        command=("sh", "$(PASSWORD)"),
        args=("$(TASK_ID)", "$(KUSCIAJOB_DOMAIN_DIR)"),
        env=(EnvVar("PASSWORD", "hunter2"),),
        ports=(Port("spu", scope="Cluster"),),
        config_volume_mounts=(ConfigVolumeMount("/w/c.json", "c.json"),),
        **container,
    )
    texts = {"c.json": "{{.OWN}} {{{.TASK_CLUSTER_DEFINE.parties[1].services[0].portName}}}"}
    image = AppImage("app", (DeployTemplate("deploy", (main,), replicas=2),), texts, Image("app", "1"))
    spec = JobSpec("j", "alice", (Task("t", "app", (Party("alice"), Party("bob"))),))
    return PartySpec(PartyKey(0, 0, 1, 0), "t-1", spec, image)


_FACTS = DomainFacts(values={"OWN": "s3cret"}, certificates={"ca.crt": b"pem"})


def _preview(runtime: str, party: PartySpec) -> Any:
    if runtime == "hosted":
        return workloads.preview(party, facts=_FACTS, policy=workloads.Policy(strict_templates=True))
    return layout.preview(party, path="", facts=_FACTS, strict_templates=True, user=None, otlp_endpoint="")


@pytest.mark.parametrize("runtime", ["process", "hosted"])
def test_a_preview_names_what_is_secret_and_shows_nothing_of_it(runtime: str) -> None:
    preview = _preview(runtime, _party())
    assert (preview.deploy_template, preview.replicas) == ("deploy", 2)
    (program,) = preview.programs
    assert (program.image, program.command) == ("app:1", ("sh", "$(PASSWORD)"))
    assert program.args == ("$(TASK_ID)", "$(KUSCIAJOB_DOMAIN_DIR)")
    assert {"PASSWORD", "TASK_ID", "TRUSTED_CA_FILE", "TASK_PROGRESS_URL"} <= set(program.environment_names)
    assert program.config_paths == ("/w/c.json", "/kuscia/certs/ca.crt")
    assert not {"hunter2", "s3cret", "pem"} & set(str(preview).replace("'", " ").split())


def test_a_preview_is_refused_where_the_start_would_be() -> None:
    missing = _party()
    assert missing.image is not None
    with pytest.raises(StartFailed, match=r"config templates cannot be rendered.*OWN"):
        layout.preview(missing, path="", facts=DomainFacts(), strict_templates=True, user=None, otlp_endpoint="")
    with pytest.raises(StartFailed, match="wants to be privileged"):
        _preview("hosted", _party(is_privileged=True))
    image = AppImage("app", (DeployTemplate("deploy", (Container("main", command=("no-such-program",)),)),))
    unknown = PartySpec(missing.key, "t-1", missing.spec, image)
    with pytest.raises(StartFailed, match=r"no-such-program.* was not found on PATH"):
        _preview("process", unknown)


async def test_why_nothing_runs_is_one_sentence() -> None:
    store = MemoryStore()
    house = QuestionHouse(store, requires_approval=True)
    await house.calls.SubmitJob(pb.SubmitJobRequest(job=job_request("j")), ALICE)

    async def reason() -> tuple[str, list[str]]:
        job = (await house.calls.GetJob(pb.GetJobRequest(job_id="j"), ALICE)).job
        return job.waiting, list(job.awaited_domains)

    assert await reason() == ("it waits for the approval of bob", ["bob"])
    await house.service.approve("j", accepted=True, reason="", caller=BOB)
    assert await reason() == ("it is about to be started", [])
    await house.service.command(Operation.STOP, "j", "", ALICE)
    assert await reason() == ("", [])
    many = pb.SubmitJobRequest(job=job_request("many", *(task_request(alias) for alias in "ab")))
    await QuestionHouse(store).calls.SubmitJob(many, ALICE)
    assert waiting.reason((await store.get("many")).status) == (
        'tasks "a", "b": waiting for its turn (max_parallelism is 1)'
    )


@pytest.mark.parametrize(
    ("exit_code", "name"),
    [(None, ""), (0, ""), (3, ""), (128, ""), (137, "SIGKILL"), (143, "SIGTERM"), (162, "SIGRTMIN+0"), (255, "")],
)
def test_signals_are_told_by_name(exit_code: int | None, name: str) -> None:
    assert signal_name(exit_code) == name


async def test_a_page_has_no_more_bytes_than_clients_take() -> None:
    store = MemoryStore()
    house = QuestionHouse(store)
    labels = {f"k{index}": "x" * 4000 for index in range(4)}
    parties = tuple(Party(f"domain-{index:055}") for index in range(128))
    for number in range(250):
        spec = JobSpec(f"j-{number}", "alice", (Task("t", "a" * 253, parties),) * 1, labels=labels)
        await store.create(new_job(spec))
    pages = await pages_of(house.calls.ListJobs, pb.ListJobsRequest(page_size=1000), MASTER, "jobs")
    assert sum(map(len, pages)) == 250
    assert len({job.job_id for page in pages for job in page}) == 250
    assert len(pages) > 1
    assert all(sum(job.ByteSize() for job in page) <= MAX_PAGE_BYTES for page in pages)
