"""The answer to ValidateJob."""

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.contracts import PartyPreview, ProgramPreview
from kusciajob.model.job import JobSpec, Party
from kusciajob.usecases.dry_run import Verdict
from kusciajob.wire.v1.pages import MAX_PAGE_BYTES
from kusciajob.wire.v1.submissions import MAX_PROBLEMS


def encode_verdict(verdict: Verdict, spec: JobSpec | None) -> pb.ValidateJobResponse:
    """The message. What parties would execute is left out from where it would take more than MAX_PAGE_BYTES."""
    response = pb.ValidateJobResponse(
        problems=[
            pb.FieldProblem(field=problem.field, description=problem.text)
            for problem in verdict.problems[: MAX_PROBLEMS + 1]
        ],
        waves=[pb.Wave(aliases=aliases) for aliases in verdict.waves],
    )
    if spec is None or verdict.problems:
        return response
    size = 0
    for task, task_id, previews in zip(spec.tasks, verdict.task_ids, verdict.previews, strict=True):
        message = response.tasks.add(alias=task.alias, task_id=task_id)
        for party, preview in zip(task.parties, previews, strict=True):
            told = _party(party, preview)
            size += told.ByteSize()
            if size > MAX_PAGE_BYTES:
                del told.containers[:]
            message.parties.append(told)
    return response


def _party(party: Party, preview: PartyPreview) -> pb.PartyPreview:
    return pb.PartyPreview(
        domain_id=party.domain_id,
        role=party.role,
        deploy_template=preview.deploy_template,
        replicas=preview.replicas,
        containers=map(_container, preview.programs),
    )


def _container(program: ProgramPreview) -> pb.ContainerPreview:
    return pb.ContainerPreview(
        name=program.name,
        image=program.image,
        command=program.command,
        args=program.args,
        working_dir=program.working_dir,
        environment_names=program.environment_names,
        config_paths=program.config_paths,
        cpu_limit=program.cpu_limit,
        memory_limit=program.memory_limit,
    )
