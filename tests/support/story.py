"""What a server that logs in JSON has told."""

import json
from typing import Any

from tests.support.polling import eventually
from tests.support.server import RunningServer

STORY = "kusciajob.telemetry.story"


def told(server: RunningServer, job_id: str = "", *, message: str = "") -> list[dict[str, Any]]:
    """The lines of its story so far, of all its processes: those of a job, those with that message."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [
        line
        for line in lines
        if line["logger"] == STORY and job_id in ("", line.get("job")) and line["message"].startswith(message)
    ]


async def until_told(server: RunningServer, job_id: str, message: str, *, times: int = 1) -> list[dict[str, Any]]:
    """The lines with that message about a job, once there are so many."""

    def are_told() -> list[dict[str, Any]] | None:
        lines = told(server, job_id, message=message)
        return lines if len(lines) >= times else None

    return await eventually(are_told) or []


def messages(server: RunningServer, job_id: str) -> list[str]:
    """What was told of a job, without the fields."""
    return [line["message"] for line in told(server, job_id)]
