"""What commands that change a job share: they tell what has changed, and wait for it if asked."""

import asyncio
from typing import Any

from msgspec import Struct

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.cli import options, tables, terminal
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly, tell_outage
from kusciajob.cli.texts import FINAL_STATES
from kusciajob.client.aio_job import AsyncJob
from kusciajob.client.calling import Calling
from kusciajob.client.errors import CallFailed, JobDeleted, JobNotFound


class Action(Struct, frozen=True):
    """One call of JobService that changes a job."""

    method: str
    done: str
    """What it did in one word, e.g. `stopped`."""
    ends_in: frozenset[str] = frozenset()
    """The states that --wait waits for; empty where the call has done all there is to do."""
    must_end_in: str = ""
    """With --wait, the only one of them that is no failure; empty where each is."""


STOP = Action("StopJob", "stopped", FINAL_STATES)
SUSPEND = Action("SuspendJob", "suspended", FINAL_STATES | {"Suspended"}, "Suspended")
RESTART = Action("RestartJob", "restarted", FINAL_STATES | {"Suspended"}, "Succeeded")
CANCEL = Action("CancelJob", "cancelled", FINAL_STATES)
APPROVE = Action("ApproveJob", "answered for")
DELETE = Action("DeleteJob", "deleted")


def perform(action: Action, request: Any, server: options.Target, *, output: str, waits: bool = False) -> None:
    """Make the call and tell what it has changed. CommandError, also where the job waited for ends otherwise."""
    asyncio.run(_perform(action, request, server, output=output, waits=waits))


async def _perform(action: Action, request: Any, server: options.Target, *, output: str, waits: bool) -> None:
    job_id = request.job_id
    async with connected(server) as calling:
        before = await _status(calling, job_id)
        response = await calling.ask(getattr(calling.stubs.jobs, action.method), request)
        after = None if action is DELETE else await _status(calling, job_id)
        if output == "json":
            tables.print_json(response.data)
        else:
            terminal.say_line(_told(action, job_id, before, after))
        if waits and action.ends_in:
            end_promptly()
            state = await _wait(calling, job_id, action.ends_in)
            if action.must_end_in not in ("", state):
                raise CommandError(f"job {job_id} ended: {state}")
            if output != "json":
                terminal.say_line(f"job {job_id} is {state}")


def _told(action: Action, job_id: str, before: pb.JobStatusDetail | None, after: pb.JobStatusDetail | None) -> str:
    """What was done, in the words of the states before and after; either may be unknown."""
    if before is not None and after is not None:
        if _changeable(before) == _changeable(after):
            return f"nothing changed: job {job_id} is {after.state}"
        if before.state == after.state:  # the programs of a job that is suspended end first
            return f"{action.done} job {job_id}: it is {after.state} still"
    was = f"it was {before.state}" if before else ""
    now = f"it is {after.state} now" if after else ""
    return f"{action.done} job {job_id}: {' and '.join(filter(None, (was, now)))}".rstrip(": ")


def _changeable(status: pb.JobStatusDetail) -> tuple[object, ...]:
    """What tells whether a call had an effect: tasks go on by themselves meanwhile."""
    return status.state, status.err_msg, status.end_time, list(status.approve_status_list)


async def _status(calling: Calling, job_id: str) -> pb.JobStatusDetail | None:
    """Where the job stands; None where the server does not tell: the call itself fails then, and says why."""
    try:
        return (await calling.statuses([job_id])).get(job_id)
    except CallFailed:
        return None


async def _wait(calling: Calling, job_id: str, states: frozenset[str]) -> str:
    """The first of the states that the job is in, or `deleted`."""
    try:
        return (await AsyncJob(calling, job_id).wait(*states, on_outage=tell_outage)).state
    except (JobDeleted, JobNotFound):
        return "deleted"
