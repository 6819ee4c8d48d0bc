"""Talks to the shim of one data directory, and starts it when none is running."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from kusciajob.runtime.process.shim import MAX_REQUEST_BYTES, PROTOCOL_VERSION
from kusciajob.runtime.process.shim_heartbeat import ANSWER_SECONDS, Heartbeat, kill_shim
from kusciajob.runtime.process.shim_launcher import Launcher
from kusciajob.runtime.process.shim_messages import (
    VERSION_WITH_USERS,
    Done,
    Hello,
    Message,
    PartyExit,
    PartyState,
    Running,
    RunningParty,
    ShimError,
    ShimUnavailable,
)

HELLO_ID = 0
CONNECT_SECONDS = 10.0
LEAVING_SECONDS = 2.0
"""How long a shim of an earlier version that should leave is not connected to."""
CONNECT_POLL_SECONDS = 0.003
RECONNECT_SECONDS = (0.0, 0.1, 0.5, 2.0, 5.0)

__all__ = ["PartyExit", "PartyState", "RunningParty", "ShimClient", "ShimError", "ShimUnavailable"]

log = logging.getLogger(__name__)


class _Watched(msgspec.Struct, frozen=True):
    directory: str
    exit: "asyncio.Future[PartyExit]"


class _Request(msgspec.Struct, frozen=True):
    line: bytes
    answer: "asyncio.Future[msgspec.Raw]"


_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode
_HELLO = _encode({"id": HELLO_ID, "op": "hello"}) + b"\n"


class _Connection(asyncio.Protocol):
    """Splits the stream into messages. `hello` holds the shim's answer to hello; `lost` is set at the end."""

    def __init__(self, client: "ShimClient") -> None:
        loop = asyncio.get_running_loop()
        self._client = client
        self._rest = b""
        self.hello: asyncio.Future[Hello] = loop.create_future()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        to_shim = cast(asyncio.Transport, transport)
        self._heartbeat = Heartbeat(
            ask=lambda: to_shim.write(_HELLO),
            on_doubt=self._client.failing.set,
            on_silence=lambda: self._client._replace(to_shim),
            answer_seconds=self._client._answer_seconds,
        )
        self._heartbeat.start()

    def data_received(self, data: bytes) -> None:
        self._heartbeat.hear()
        self._client.failing.clear()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = _decode(line)
            if message.id != HELLO_ID:
                self._client._take(message)
            elif not self.hello.done():
                self.hello.set_result(msgspec.json.decode(message.result, type=Hello))

    def connection_lost(self, _: Exception | None) -> None:
        self._heartbeat.stop()
        if not self.hello.done():
            self.hello.set_exception(ConnectionResetError())
        self.lost.set()
        self._client._lose(self)


class ShimClient:
    """One connection to the shim, made anew when it breaks.

    All requests may be repeated, so those without an answer are sent again on the next connection; parties that a
    killed shim left behind are then killed and end as lost. One that has not answered for `answer_seconds` is killed.
    """

    def __init__(self, directory: Path, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._directory = directory.absolute()
        self._launcher = Launcher(self._directory)
        self._answer_seconds = answer_seconds
        self._connection: _Connection | None = None
        self._transport: asyncio.Transport | None = None
        self._requests: dict[int, _Request] = {}
        self._outgoing: list[bytes] = []
        """Written together at the end of this turn of the event loop: parties start in numbers."""
        self._parties: dict[str, _Watched] = {}
        self._last_id = 0
        self._reconnecting: asyncio.Task[None] | None = None
        self._is_closed = False
        self.shim_pid: int | None = None
        self._shim_version = 0
        self._shim_restarts = False
        self._replacing = asyncio.Lock()
        self._declined_until = 0.0
        self.failing = asyncio.Event()
        """Set while the shim does not answer, or none can be reached."""

    async def connect(self) -> None:
        """Connect; start the shim if none runs. Raises ShimUnavailable if that fails."""
        self._is_closed = False
        await self._connect()

    async def close(self) -> None:
        """Close the connection. Parties go on running; waiters and open requests get ShimUnavailable."""
        self._is_closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reconnecting
        self._launcher.close()
        if self._transport is not None and self._connection is not None:
            self._transport.abort()
            await self._connection.lost.wait()
        closed = ShimUnavailable("the connection to the shim was closed")
        self._fail_requests(closed)
        for key in list(self._parties):
            self._end(key, closed)

    async def start(
        self,
        key: str,
        *,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | Path,
        directory: Path,
        output_limit_bytes: int | None = None,
        user: tuple[int, int] | None = None,
        max_restarts: int | None = None,
        pause_seconds: float = 0.0,
        notice: str = "",
    ) -> PartyState:
        """Spawns argv[0], an absolute path, unless this key ever was: then answers its state and spawns nothing.

        It runs as the user and group of those numbers, or, without them, as the shim does. With `max_restarts` a
        program that fails is started again, as often at most, after a pause that doubles. Its stderr.log begins with
        `notice`.

        Raises ShimError, which names what cannot be started. If this is cancelled the party may run: see `recover`.
        """
        if self._shim_version < PROTOCOL_VERSION:
            await self._replace_earlier()
        payload: dict[str, Any] = {
            "argv": argv,
            "env": env,
            "cwd": str(cwd),
            "dir": str(directory),
            "output_limit_bytes": output_limit_bytes,
        }
        if user is not None:
            if self._shim_version < VERSION_WITH_USERS:
                raise ShimError(
                    "the running shim is of an earlier version and starts programs only as its own user: "
                    "it is replaced when those that it runs have ended"
                )
            payload["user"] = user
        # A shim of an earlier version ignores these: the program runs, once.
        if max_restarts is not None:
            if max_restarts > 0 and not self._shim_restarts:
                log.warning(
                    "party %s runs once, whatever its restartPolicy: the running shim is of an earlier version; "
                    "it is replaced when those that it runs have ended",
                    key,
                    extra={"party": key},
                )
            payload |= {"max_restarts": max_restarts, "pause_seconds": pause_seconds}
        if notice:
            payload["notice"] = notice
        was_watched = key in self._parties
        self._watch(key, directory)
        try:
            state = await self._request("start", PartyState, key=key, **payload)
        except BaseException:
            if not was_watched:
                self.forget(key)
            raise
        self._settle(key, state)
        return state

    async def stop(self, key: str, *, grace_seconds: float) -> None:
        """SIGTERM to the party, SIGKILL after the grace period; returns when nothing of it is left.

        Success when it is not running; a later call can only shorten the grace period.
        """
        await self._request("stop", Done, key=key, grace_seconds=grace_seconds)

    async def recover(self, key: str, directory: Path) -> PartyState:
        """The state of the party in that directory. A party that a killed shim left is killed; it is `lost`."""
        self._watch(key, directory)
        state = await self._request("recover", PartyState, key=key, dir=str(directory))
        self._settle(key, state)
        return state

    async def list(self) -> list[RunningParty]:
        """What the shim runs, whoever started it."""
        return (await self._request("list", Running)).parties

    async def wait(self, key: str) -> PartyExit:
        """Wait until nothing is left of a party that was started or recovered here. Cancelling stops nothing."""
        if key not in self._parties:
            raise ShimError(f"party {key} was neither started nor recovered on this connection")
        return await asyncio.shield(self._parties[key].exit)

    def forget(self, key: str) -> None:
        """Forget a party; its waiters get ShimError. Its program goes on running."""
        self._end(key, ShimError(f"party {key} was forgotten"))
        self._parties.pop(key, None)

    # Parties

    def _watch(self, key: str, directory: Path) -> None:
        if key not in self._parties:
            self._parties[key] = _Watched(str(directory), asyncio.get_running_loop().create_future())

    def _settle(self, key: str, state: PartyState) -> None:
        if state.exit is not None:
            self._end(key, state.exit)
        elif state.state == "unknown":
            self.forget(key)

    def _end(self, key: str, outcome: PartyExit | ShimError) -> None:
        watched = self._parties.get(key)
        if watched is None or watched.exit.done():
            return
        if isinstance(outcome, PartyExit):
            watched.exit.set_result(outcome)
        else:
            watched.exit.set_exception(outcome)
            watched.exit.exception()  # nobody needs to be waiting

    async def _replace_earlier(self) -> None:
        """An idle shim of an earlier version leaves when nobody is connected; one of this version follows it."""
        async with self._replacing:
            if self._shim_version >= PROTOCOL_VERSION or await self.list():
                return
            log.info("the shim is of an earlier version and runs nothing: it is replaced")
            self._declined_until = asyncio.get_running_loop().time() + LEAVING_SECONDS
            if self._transport is not None and self._connection is not None:
                self._transport.abort()
                await self._connection.lost.wait()
            if self._reconnecting is not None:
                await asyncio.wait([self._reconnecting])

    # Requests and answers

    async def _request(self, op: str, kind: type[_T], **fields: Any) -> _T:
        request = self._send(op, **fields)
        return msgspec.json.decode(await request, type=kind)

    def _send(self, op: str, **fields: Any) -> "asyncio.Future[msgspec.Raw]":
        if self._is_closed:
            raise ShimUnavailable("the connection to the shim was closed")
        self._last_id += 1
        number = self._last_id
        line = _encode({"id": number, "op": op, **fields}) + b"\n"
        if len(line) > MAX_REQUEST_BYTES:
            raise ShimError(f"{op}: the request has {len(line)} bytes, more than {MAX_REQUEST_BYTES}")
        answer: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._requests[number] = _Request(line, answer)
        answer.add_done_callback(lambda _: self._requests.pop(number, None))
        if self._transport is not None:
            if not self._outgoing:
                asyncio.get_running_loop().call_soon(self._flush)
            self._outgoing.append(line)
        return answer

    def _flush(self) -> None:
        lines, self._outgoing = self._outgoing, []
        if self._transport is not None and lines:
            self._transport.write(b"".join(lines))

    def _take(self, message: Message) -> None:
        if message.exit is not None:
            self._end(message.exit.key, message.exit)
            return
        request = self._requests.get(message.id) if message.id is not None else None
        if request is None or request.answer.done():
            return
        if message.error is not None:
            request.answer.set_exception(ShimError(message.error.text))
        else:
            request.answer.set_result(message.result)

    def _fail_requests(self, error: ShimError) -> None:
        for request in list(self._requests.values()):
            if not request.answer.done():
                request.answer.set_exception(error)

    # The connection

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONNECT_SECONDS + self._answer_seconds  # one that does not answer is replaced first
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not await self._try_connect():
            if loop.time() > deadline:
                raise ShimUnavailable(f"the shim of {self._directory} does not listen: {self._launcher.last_words()}")
            await asyncio.sleep(CONNECT_POLL_SECONDS)

    async def _try_connect(self) -> bool:
        if not self._launcher.is_ready():
            return False
        sock = self._launcher.connect()
        if sock is None:
            self._launcher.launch()
            return False
        transport, connection = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Connection(self), sock=sock
        )
        try:
            hello = await connection.hello
        except ConnectionResetError:
            return False  # it was just leaving
        except asyncio.CancelledError:
            transport.abort()
            raise
        if hello.version < PROTOCOL_VERSION and asyncio.get_running_loop().time() < self._declined_until:
            transport.abort()  # else it would stay for us
            return False
        if hello.version > PROTOCOL_VERSION:
            transport.abort()
            raise ShimUnavailable(
                f"the running shim of {self._directory} speaks version {hello.version}, this program knows versions up "
                f"to {PROTOCOL_VERSION}: run the newer program; what the shim runs goes on"
            )
        if hello.pid != self.shim_pid:
            log.info("the shim is process %d, a party is kept together by %s", hello.pid, hello.containment)
        # No await from here on: a request is either among these or written by _send.
        unanswered = [request.line for request in self._requests.values()]
        self._outgoing.clear()
        self._connection, self._transport, self.shim_pid = connection, transport, hello.pid
        self._shim_version, self._shim_restarts = hello.version, hello.can_restart
        # First the exits that the last connection may have missed; the shim answers in order.
        for key, watched in self._parties.items():
            if not watched.exit.done():
                state = self._send("recover", key=key, dir=watched.directory)
                state.add_done_callback(functools.partial(self._take_recovered, key))
        self._outgoing += unanswered
        self._flush()
        return True

    def _take_recovered(self, key: str, answer: "asyncio.Future[msgspec.Raw]") -> None:
        if answer.cancelled():
            return
        if error := answer.exception():
            if not isinstance(error, ShimUnavailable):
                self._end(key, ShimError(f"party {key} cannot be recovered: {error}"))
            return
        state = msgspec.json.decode(answer.result(), type=PartyState)
        # "unknown": its start is among the requests sent again.
        if state.exit is not None:
            self._end(key, state.exit)

    def _lose(self, connection: _Connection) -> None:
        if self._connection is not connection:
            return
        self._connection = self._transport = None
        if not self._is_closed:
            if not self._replacing.locked():
                log.warning("lost the connection to the shim of %s", self._directory)
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect(), name="shim reconnect")

    def _replace(self, transport: asyncio.Transport) -> None:
        self.failing.set()
        killed = kill_shim(self._directory)
        log.error(
            "the shim of %s has not answered for %g s: it is replaced, its parties are lost; killed: %s",
            self._directory,
            self._answer_seconds,
            ", ".join(map(str, killed)) or "none, it was gone",
        )
        transport.abort()

    async def _reconnect(self) -> None:
        attempt = 0
        while self._connection is None:
            await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
            attempt += 1
            try:
                await self._connect()
            except Exception as error:
                self.failing.set()
                log.error("no connection to the shim of %s: %s", self._directory, error)
                self._fail_requests(ShimUnavailable(str(error)))
        self._reconnecting = None
