"""`kusciajob validate` and `submit`: a job from a file, with what a job file cannot say."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.cli import options, tables, terminal, texts
from kusciajob.cli.durations import Span
from kusciajob.cli.errors import CommandError
from kusciajob.cli.job_request import read_request
from kusciajob.cli.pairs import pair_of
from kusciajob.cli.remote import connected
from kusciajob.cli.waiting import wait_for
from kusciajob.model.rules import MAX_ATTEMPTS

_FILE = click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)


def _policies(function: Any) -> Any:
    """The options that say what a CreateJobRequest cannot."""
    for decorate in (
        click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Filters of `list` can ask for it."),
        click.option("--ttl", type=Span(), help="Delete the job so long after its end."),
        click.option("--deadline", type=Span(), help="Stop the job so long after its creation or restart."),
        click.option(
            "--run-timeout",
            "run_timeouts",
            metavar="[TASK=]DURATION",
            multiple=True,
            help="Stop an attempt that runs longer; of one task, or of all.",
        ),
        click.option(
            "--retry-exit-code",
            "exit_codes",
            metavar="N",
            type=click.IntRange(1, 255),
            multiple=True,
            help="Retry only where a party ended with one of those given.",
        ),
        click.option("--backoff-factor", "factor", type=float, default=0.0, help="By which each is longer.  [2]"),
        click.option("--max-backoff", type=Span(), help="The longest wait between attempts.  [5m]"),
        click.option("--backoff", type=Span(), help="The wait before the second attempt.  [10s]"),
        click.option(
            "--retry",
            "retries",
            metavar="[TASK=]N",
            multiple=True,
            help="Run a task that fails up to N times; of one task, or of all.",
        ),
    ):
        function = decorate(function)
    return function


@click.command()
@_FILE
@_policies
@options.server
@options.output
def validate(file: Path, server: options.Target, output: str, **policies: Any) -> None:
    """Say all that is wrong with a job, or how it would run. Nothing is stored; exit code 1 if something is wrong."""
    request = pb.ValidateJobRequest(request=_request(file, **policies))
    answer = asyncio.run(_validate(request, server))
    if output == "json":
        tables.print_json(answer)
    elif answer.problems:
        tables.print_table(("WHERE", "WHAT IS WRONG"), [(each.field, each.description) for each in answer.problems])
    else:
        _print_preview(answer)
    if answer.problems:
        raise CommandError(f"{len(answer.problems)} problem{'s' if len(answer.problems) > 1 else ''} in {file}")


@click.command()
@_FILE
@_policies
@options.wait("Return when the job has ended; exit code 0 only when it has Succeeded.")
@options.server
@options.output
def submit(file: Path, waits: bool, server: options.Target, output: str, **policies: Any) -> None:
    """Create a job from a file, with retries, time-outs and labels, and print its id.

    Submitting a job that exists already with the same content succeeds without effect.
    """
    asyncio.run(_submit(_request(file, **policies), server, output=output, waits=waits))


def _request(
    file: Path,
    *,
    retries: Sequence[str],
    backoff: float | None,
    max_backoff: float | None,
    factor: float,
    exit_codes: Sequence[int],
    run_timeouts: Sequence[str],
    deadline: float | None,
    ttl: float | None,
    labels: Sequence[str],
) -> pb.SubmitJobRequest:
    request = pb.SubmitJobRequest(
        job=read_request(file), labels=dict(pair_of(each, option="--label") for each in labels)
    )
    aliases = [task.alias for task in request.job.tasks]
    for text in retries:
        names, count = _of_tasks(text, aliases)
        if not count.isdigit() or not 2 <= int(count) <= MAX_ATTEMPTS:
            raise click.BadParameter(f"{text!r}: 2 to {MAX_ATTEMPTS} attempts are possible", param_hint="--retry")
        retry = pb.Retry(max_attempts=int(count), factor=factor, exit_codes=exit_codes)
        _set_span(retry, "first_backoff", backoff)
        _set_span(retry, "max_backoff", max_backoff)
        for name in names:
            request.task_policies[name].retry.CopyFrom(retry)
    if not retries and (backoff or max_backoff or factor or exit_codes):
        raise click.UsageError("options about retries mean nothing without --retry N")
    for text in run_timeouts:
        names, span = _of_tasks(text, aliases)
        for name in names:
            _set_span(request.task_policies[name], "run_timeout", Span()(span))
    _set_span(request, "deadline", deadline)
    _set_span(request, "ttl", ttl)
    return request


def _of_tasks(text: str, aliases: list[str]) -> tuple[list[str], str]:
    """The tasks that `[TASK=]VALUE` is about, and the value. The server refuses aliases that no task has."""
    alias, equals, value = text.rpartition("=")
    return ([alias], value) if equals else (aliases, value)


def _set_span(message: Any, field: str, seconds: float | None) -> None:
    if seconds is not None:
        getattr(message, field).FromMilliseconds(int(seconds * 1000))


def _print_preview(answer: pb.ValidateJobResponse) -> None:
    for number, wave in enumerate(answer.waves, 1):
        terminal.say_line(f"wave {number}: {', '.join(wave.aliases)}")
    rows = [
        (task.alias, _party(party), container.image or "-", " ".join([*container.command, *container.args]) or "-")
        for task in answer.tasks
        for party in task.parties
        for container in party.containers or [pb.ContainerPreview()]
    ]
    terminal.say("")
    tables.print_table(("TASK", "PARTY", "IMAGE", "COMMAND"), rows)


def _party(party: pb.PartyPreview) -> str:
    name = texts.party(party)
    return f"{name} x{party.replicas}" if party.replicas > 1 else name


async def _validate(request: pb.ValidateJobRequest, server: options.Target) -> pb.ValidateJobResponse:
    async with connected(server) as calling:
        answer: pb.ValidateJobResponse = await calling.ask(calling.stubs.v1.ValidateJob, request)
        return answer


async def _submit(request: pb.SubmitJobRequest, server: options.Target, *, output: str, waits: bool) -> None:
    async with connected(server) as calling:
        job = (await calling.ask(calling.stubs.v1.SubmitJob, request)).job
        if output == "json":
            tables.print_json(job)
        else:
            terminal.say_line(job.job_id)
        if waits:
            await wait_for(calling, job.job_id, ("Succeeded",), is_quiet=output == "json")
