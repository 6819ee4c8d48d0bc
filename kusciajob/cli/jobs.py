"""The commands on a server's jobs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import actions, options, tables
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected
from kusciajob.client.errors import CallFailed
from kusciajob.model.job import REASON_HEADER

_ANSWERS = {True: pb.APPROVE_RESULT_ACCEPT, False: pb.APPROVE_RESULT_REJECT}


@click.command()
@click.argument("job_id", metavar="JOB")
@options.server
@options.output
def get(job_id: str, server: options.Target, output: str) -> None:
    """Show a job: state, tasks, parties and the addresses where they listen."""
    data = _call(server, "QueryJob", pb.QueryJobRequest(job_id=job_id))
    if output == "json":
        tables.print_json(data)
    else:
        tables.print_job(data)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@options.server
@options.output
def status(job_ids: tuple[str, ...], server: options.Target, output: str) -> None:
    """Show where jobs stand, in the order asked.

    Where the server refuses to tell of some, the others are shown all the same and the exit code is 1.
    """
    jobs, unknown = asyncio.run(_statuses(server, job_ids))
    if output == "json":
        tables.print_json(pb.BatchQueryJobStatusResponseData(jobs=jobs))
    elif jobs:
        tables.print_statuses(jobs)
    if unknown:
        raise CommandError("; ".join(map(str, unknown)), unknown[0].code)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.wait("Return when the job has ended.")
@options.server
@options.output
def stop(job_id: str, reason: str, waits: bool, server: options.Target, output: str) -> None:
    """End a job as Failed; it can be restarted. A finished job stays as it is.

    The server answers when the job has ended; its programs may need a moment more, up to stop_grace_seconds.
    """
    request = pb.StopJobRequest(job_id=job_id, reason=reason)
    actions.perform(actions.STOP, request, server, output=output, waits=waits)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.wait("Return when the job is suspended; exit code 1 when it ended before.")
@options.server
@options.output
def suspend(job_id: str, reason: str, waits: bool, server: options.Target, output: str) -> None:
    """Stop the tasks of a running job; `restart` takes it up again."""
    request = pb.SuspendJobRequest(job_id=job_id, reason=reason)
    actions.perform(actions.SUSPEND, request, server, output=output, waits=waits)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.wait("Return when the job has ended; exit code 0 only when it has Succeeded.")
@options.server
@options.output
def restart(job_id: str, reason: str, waits: bool, server: options.Target, output: str) -> None:
    """Run every task of a failed or suspended job again that did not succeed."""
    request = pb.RestartJobRequest(job_id=job_id, reason=reason)
    actions.perform(actions.RESTART, request, server, output=output, waits=waits)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.wait("Return when the job has ended.")
@options.server
@options.output
def cancel(job_id: str, reason: str, waits: bool, server: options.Target, output: str) -> None:
    """End a job as Cancelled, which is final."""
    request = pb.CancelJobRequest(job_id=job_id, reason=reason)
    actions.perform(actions.CANCEL, request, server, output=output, waits=waits)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--accept/--reject", "is_accepted", required=True, help="The answer.")
@options.reason
@options.server
@options.output
def approve(job_id: str, is_accepted: bool, reason: str, server: options.Target, output: str) -> None:
    """Answer a job that awaits approval."""
    request = pb.ApproveJobRequest(job_id=job_id, result=_ANSWERS[is_accepted], reason=reason)
    actions.perform(actions.APPROVE, request, server, output=output)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--reason", metavar="TEXT", default="", help="Kept in the audit, for others to read.")
@options.wait("Return when its record is gone: the answer says so in any case.")
@options.server
@options.output
def delete(job_id: str, reason: str, waits: bool, server: options.Target, output: str) -> None:
    """Stop a job, whatever its state, and remove its record."""
    request = pb.DeleteJobRequest(job_id=job_id)
    if reason:
        request.header.custom_headers[REASON_HEADER] = reason
    actions.perform(actions.DELETE, request, server, output=output, waits=waits)


def _call(server: options.Target, method: str, request: Any) -> Any:
    """The data of the response to the call of JobService of that name."""

    async def call() -> Any:
        async with connected(server) as calling:
            return await calling.ask(getattr(calling.stubs.jobs, method), request)

    return asyncio.run(call()).data


async def _statuses(server: options.Target, job_ids: Sequence[str]) -> tuple[list[pb.JobStatus], list[CallFailed]]:
    """The jobs asked for, and why others cannot be told; the server answers for all at once or for none."""
    async with connected(server) as calling:

        async def ask(ids: Sequence[str]) -> Sequence[pb.JobStatus]:
            request, method = pb.BatchQueryJobStatusRequest(job_ids=ids), calling.stubs.jobs.BatchQueryJobStatus
            answer: pb.BatchQueryJobStatusResponse = await calling.ask(method, request)
            return answer.data.jobs

        try:
            return list(await ask(job_ids)), []
        except CallFailed:
            if len(job_ids) == 1:
                raise
        jobs: list[pb.JobStatus] = []
        unknown: list[CallFailed] = []
        for job_id in job_ids:
            try:
                jobs += await ask([job_id])
            except CallFailed as error:
                unknown.append(error)
        return jobs, unknown
