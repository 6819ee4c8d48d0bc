"""The call of JobsService that reads what programs have written."""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.contracts import OutputStream
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.model.text import shown
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.log_lines import LogLine
from kusciajob.usecases.logs import LogQuery, PartyRun, TaskOutput
from kusciajob.wire.v1.filters import decode_time

MAX_MESSAGE_LINES = 1000
MAX_MESSAGE_CHARACTERS = 256 * 1024


class TaskLogCalls:
    """One RPC of JobsService, by its name."""

    def __init__(self, output: TaskOutput) -> None:
        self._output = output

    async def ReadTaskLog(
        self, request: pb.ReadTaskLogRequest, caller: Caller
    ) -> AsyncGenerator[Sequence[pb.ReadTaskLogResponse], None]:
        """First an empty batch, once it is known that there is such a log; then lines, some in each message."""
        query = _decode(request)
        runs = await self._output.find_all(query, caller)
        runs = runs if request.all_parties else runs[:1]
        yield ()
        if request.all_parties:
            yield [_message(run) for run in runs]
        async with aclosing(self._output.lines(query, runs, caller)) as pieces:
            async for run, lines in pieces:
                for message in _messages(run, lines):
                    yield (message,)


def _decode(request: pb.ReadTaskLogRequest) -> LogQuery:
    """Raises InvalidJob. What a task has is not looked at."""
    problems: list[Problem] = []
    since = decode_time(request, "since_time", problems)
    stream = None
    if request.stream in list(OutputStream):
        stream = OutputStream(request.stream)
    elif request.stream:
        text = f"stream {shown(request.stream)} is unknown: stdout, stderr, or empty for both"
        problems.append(Problem("stream", text))
    if request.all_parties and request.offset:
        problems.append(Problem("offset", f"offset {request.offset} is one party's: leave out all_parties, or offset"))
    if problems:
        raise InvalidJob("; ".join(problem.text for problem in problems), problems=problems)
    return LogQuery(
        task_id=request.task_id,
        domain_id=request.domain_id,
        role=request.role,
        attempt=request.attempt,
        replica=request.replica,
        stream=stream,
        tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
        since=since,
        offset=request.offset,
        follow=request.follow,
    )


def _message(run: PartyRun) -> pb.ReadTaskLogResponse:
    return pb.ReadTaskLogResponse(domain_id=run.domain_id, role=run.role)


def _messages(run: PartyRun, lines: Sequence[LogLine]) -> list[pb.ReadTaskLogResponse]:
    """So many that none is large."""
    messages = [_message(run)]
    characters = 0
    for line in lines:
        characters += len(line.text)
        own = messages[-1].lines
        if own and (len(own) >= MAX_MESSAGE_LINES or characters > MAX_MESSAGE_CHARACTERS):
            messages.append(_message(run))
            characters, own = len(line.text), messages[-1].lines
        encoded = own.add(
            stream=line.stream,
            text=line.text,
            offset=line.offset,
            end_offset=line.end_offset,
            is_partial=line.is_partial,
            dropped_bytes=line.dropped_bytes,
        )
        if line.at is not None:
            # Rounded down: who gives it back as since_time is told the line again.
            encoded.time.FromMicroseconds(math.floor(line.at * 1e6))
    return messages
