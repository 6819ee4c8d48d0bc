"""`kusciajob create`: a job from a file."""

import asyncio
from pathlib import Path

import click

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, tables, terminal
from kusciajob.cli.job_request import read_request
from kusciajob.cli.remote import connected


@click.command()
@click.option(
    "-f",
    "--file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="The job: a CreateJobRequest as JSON or YAML, or a KusciaJob as YAML; - reads stdin.",
)
@options.server
@options.output
def create(file: Path, server: options.Target, output: str) -> None:
    """Create a job from a file and print its id.

    Creating a job that exists already with the same content succeeds without effect.
    """
    data = asyncio.run(_create(read_request(file), server))
    if output == "json":
        tables.print_json(data)
    else:
        terminal.say_line(data.job_id)


async def _create(request: pb.CreateJobRequest, server: options.Target) -> pb.CreateJobResponseData:
    async with connected(server) as calling:
        response: pb.CreateJobResponse = await calling.ask(calling.stubs.jobs.CreateJob, request)
        return response.data
