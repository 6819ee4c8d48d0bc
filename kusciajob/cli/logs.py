"""`kusciajob logs`: what the programs of tasks write."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

import click
from msgspec import Struct

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as v1
from kusciajob.cli import options, terminal
from kusciajob.cli.durations import Moment, set_moments
from kusciajob.cli.errors import CommandError
from kusciajob.cli.remote import connected, end_promptly
from kusciajob.client.calling import Calling
from kusciajob.client.errors import CallFailed
from kusciajob.client.lines import MAX_LINE_CHARACTERS, whole_lines
from kusciajob.wire.status import Code


class _Source(Struct, frozen=True):
    """One party's log."""

    task_id: str
    domain: str
    alias: str = ""
    """Empty where the log was asked for by its task id."""

    @property
    def mark(self) -> str:
        """What its lines begin with when there are several logs."""
        return terminal.one_line(f"{self.alias} {self.domain}") + " | "


@click.command()
@click.argument("name", metavar="JOB|TASK_ID")
@click.option("--task", "alias", metavar="ALIAS", default="", help="Only this task of the job.")
@click.option("--party", "domain", metavar="DOMAIN", default="", help="Only this domain's party.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written until the tasks end.")
@click.option("--attempt", metavar="N", type=click.IntRange(1), help="Of this attempt, not of the newest.")
@click.option("--replica", metavar="N", type=click.IntRange(0), help="Of this instance, from 0 on.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this; else both, as they arrived.")
@click.option("--tail", metavar="N", type=click.IntRange(0), help="Only the last N lines of each party.")
@click.option("--since", type=Moment(), help="Only what was written since then: 5m means five minutes ago.")
@options.server
@options.line_output
def logs(
    name: str,
    alias: str,
    domain: str,
    *,
    follow: bool,
    attempt: int | None,
    replica: int | None,
    stream: str | None,
    tail: int | None,
    since: float | None,
    server: options.Target,
    output: str,
) -> None:
    """Print what the programs of a job, or of one task, write.

    The lines of several parties are marked with task and party. A TASK_ID stands for its first party without --party.
    On a terminal, control characters are shown as escapes; a file or another program gets what was written, as it is.
    JSON output has task, task_id, party and line of each line; task is empty where a TASK_ID was asked for.
    """
    choice = v1.ReadTaskLogRequest(
        attempt=attempt or 0, replica=replica or 0, stream=stream or "", tail_lines=tail, follow=follow
    )
    set_moments(choice, since_time=since)
    is_plain = (attempt, replica, stream, tail, since) == (None,) * 5
    wanted = None if is_plain else choice
    asyncio.run(_print_logs(name, alias, domain, server, wanted, follow=follow, is_json=output == "json"))


async def _print_logs(
    name: str,
    alias: str,
    domain: str,
    server: options.Target,
    choice: v1.ReadTaskLogRequest | None,
    *,
    follow: bool,
    is_json: bool,
) -> None:
    end_promptly()
    async with connected(server) as calling:
        sources = await _find(calling, name, alias, domain)
        show = _printer(is_json=is_json, is_marked=len(sources) > 1)
        show_log: Callable[[_Source], Coroutine[None, None, None]]
        if choice is None:
            show_log = partial(_print_plain, calling, show=show, follow=follow)
        else:
            show_log = partial(_print_chosen, calling, show=show, choice=choice)
        if follow:
            await asyncio.gather(*map(show_log, sources))
        else:
            for source in sources:
                await show_log(source)


async def _find(calling: Calling, name: str, alias: str, domain: str) -> Sequence[_Source]:
    """The logs of the job of that name, else of the task."""
    try:
        job = await calling.query(name)
    except CallFailed as error:
        if error.code != Code.QUERY_FAILED or alias:
            raise
        return [_Source(name, domain)]
    tasks = [task for task in job.status.tasks if task.start_time and alias in ("", task.alias)]
    sources = [
        _Source(task.task_id, party.domain_id, task.alias)
        for task in tasks
        for party in task.parties
        if domain in ("", party.domain_id)
    ]
    if not sources:
        wanted = (f" named {alias}" if alias else "") + (f" with a party {domain}" if domain else "")
        raise CommandError(f"job {name} has no started task{wanted}")
    return sources


def _printer(*, is_json: bool, is_marked: bool) -> Callable[[_Source, str], None] | None:
    """What prints a line; None where nothing is to be done to the lines."""
    if is_json:
        return _print_json
    if terminal.is_terminal():
        # Cleaned, it is one line for the terminal too: nothing else can begin a new one, or go back to its own start.
        return lambda source, line: terminal.pass_on(terminal.clean(f"{source.mark if is_marked else ''}{line}\n"))
    return (lambda source, line: terminal.pass_on(f"{source.mark}{line}\n")) if is_marked else None


def _print_json(source: _Source, line: str) -> None:
    told = {"task": source.alias, "task_id": source.task_id, "party": source.domain, "line": line}
    terminal.say_json(json.dumps(told, ensure_ascii=False))


async def _print_chosen(
    calling: Calling,
    source: _Source,
    *,
    show: Callable[[_Source, str], None] | None,
    choice: v1.ReadTaskLogRequest,
) -> None:
    request = v1.ReadTaskLogRequest(task_id=source.task_id, domain_id=source.domain)
    request.MergeFrom(choice)
    rest: dict[str, str] = {}
    async for answer in calling.stream(calling.stubs.v1.ReadTaskLog, request):
        for line in answer.lines:
            text = rest.pop(line.stream, "") + line.text
            if line.dropped_bytes:
                text = f"[{line.dropped_bytes} bytes of output dropped: output_limit_mib] {text}"
            if line.is_partial and len(text) < MAX_LINE_CHARACTERS:
                rest[line.stream] = text
            else:
                _show(source, text, show)
    for text in rest.values():
        _show(source, text, show)


def _show(source: _Source, line: str, show: Callable[[_Source, str], None] | None) -> None:
    if show is None:
        terminal.pass_on(f"{line}\n")
    else:
        show(source, line)


async def _print_plain(
    calling: Calling, source: _Source, *, show: Callable[[_Source, str], None] | None, follow: bool
) -> None:
    pieces = calling.plain_log(source.task_id, source.domain, follow=follow)
    if show is None:
        async for text in pieces:
            terminal.pass_on(text)
        return
    async for lines in whole_lines(pieces):
        for line in lines:
            show(source, line)
