"""Jobs for the page to show, on a server that simulates programs."""

import json
from typing import Any

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from tests.support.requests import create, ended, job_request, task_request
from tests.support.server import RunningServer


def scripted(alias: str, *after: str, **script: Any) -> pb.Task:
    """A task of alice and bob that does what the script says."""
    return task_request(alias, dependencies=after, task_input_config=json.dumps(script))


async def create_failed(server: RunningServer, job_id: str = "fraud", message: str = "no space left") -> None:
    """A job that bob makes fail in its second task, while alice would go on."""
    failing = scripted(
        "psi", "prepare", seconds=600, parties={"bob": {"exit_code": 3, "seconds": 0, "message": message}}
    )
    await create(server.stub, job_request(job_id, scripted("prepare"), failing, scripted("join", "psi")))
    await ended(server.stub, job_id)


def address(server: RunningServer, query: str = "") -> str:
    """Of the page, or of a view of it."""
    return f"http://{server.http_address}/ui/{query}"
