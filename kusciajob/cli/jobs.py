"""The commands on a server's jobs."""

import asyncio
from typing import Any

import click

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, tables
from kusciajob.cli.remote import connected

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
    """Show where jobs stand, in the order asked."""
    data = _call(server, "BatchQueryJobStatus", pb.BatchQueryJobStatusRequest(job_ids=job_ids))
    if output == "json":
        tables.print_json(data)
    else:
        tables.print_statuses(data.jobs)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.server
@options.output
def stop(job_id: str, reason: str, server: options.Target, output: str) -> None:
    """End a job as Failed; it can be restarted. A finished job stays as it is."""
    _command(server, "StopJob", pb.StopJobRequest(job_id=job_id, reason=reason), output)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.server
@options.output
def suspend(job_id: str, reason: str, server: options.Target, output: str) -> None:
    """Stop the tasks of a running job; `restart` takes it up again."""
    _command(server, "SuspendJob", pb.SuspendJobRequest(job_id=job_id, reason=reason), output)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.server
@options.output
def restart(job_id: str, reason: str, server: options.Target, output: str) -> None:
    """Run every task of a failed or suspended job again that did not succeed."""
    _command(server, "RestartJob", pb.RestartJobRequest(job_id=job_id, reason=reason), output)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.reason
@options.server
@options.output
def cancel(job_id: str, reason: str, server: options.Target, output: str) -> None:
    """End a job as Cancelled, which is final."""
    _command(server, "CancelJob", pb.CancelJobRequest(job_id=job_id, reason=reason), output)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--accept/--reject", "is_accepted", required=True, help="The answer.")
@options.reason
@options.server
@options.output
def approve(job_id: str, is_accepted: bool, reason: str, server: options.Target, output: str) -> None:
    """Answer a job that awaits approval."""
    request = pb.ApproveJobRequest(job_id=job_id, result=_ANSWERS[is_accepted], reason=reason)
    _command(server, "ApproveJob", request, output)


@click.command()
@click.argument("job_id", metavar="JOB")
@options.server
@options.output
def delete(job_id: str, server: options.Target, output: str) -> None:
    """Stop a job, whatever its state, and remove its record."""
    _command(server, "DeleteJob", pb.DeleteJobRequest(job_id=job_id), output)


def _command(server: options.Target, method: str, request: Any, output: str) -> None:
    """Calls and, as success needs no words, prints only JSON."""
    data = _call(server, method, request)
    if output == "json":
        tables.print_json(data)


def _call(server: options.Target, method: str, request: Any) -> Any:
    """The data of the response to the call of JobService of that name."""

    async def call() -> Any:
        async with connected(server) as connection:
            return await connection.call(getattr(connection.jobs, method), request)

    return asyncio.run(call()).data
