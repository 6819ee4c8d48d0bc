"""The socket: clients, their requests and the events sent to them."""

import errno
import json
import math
import os
import selectors
import signal
import socket
import time
from collections import deque
from typing import Any

from kusciajob.runtime.process.shim import MAX_REQUEST_BYTES, PROTOCOL_VERSION
from kusciajob.runtime.process.shim.cgroups import Cgroups, LeftGroups
from kusciajob.runtime.process.shim.descendants import Descendants
from kusciajob.runtime.process.shim.parties import Parties
from kusciajob.runtime.process.shim.records import log
from kusciajob.runtime.process.shim.restarts import Restart
from kusciajob.runtime.process.shim.spawning import IGNORED_SIGNALS, RequestError

MAX_BACKLOG_BYTES = 8 << 20
READ_BYTES = 256 << 10
FIRST_CLIENT_SECONDS = 2.0
FAULT_PAUSE_SECONDS = 0.1
NO_ID = 2**32 - 1


def take(request: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A field of a request; raises RequestError when it is missing or of another type."""
    value = request.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RequestError(errno.EINVAL, f"{request.get('op')}: field {name} has the value {str(value)[:80]!r}")
    return value


def take_path(request: dict[str, Any], name: str) -> str:
    path: str = take(request, name, str)
    if not path.startswith("/"):
        raise RequestError(errno.EINVAL, f"{request.get('op')}: {name} must be an absolute path, not {path[:80]!r}")
    return path


def take_user(request: dict[str, Any]) -> tuple[int, int] | None:
    match take(request, "user", (list, type(None))):
        case None:
            return None
        case [int(uid), int(gid)] if 0 < uid < NO_ID and 0 <= gid < NO_ID:
            return uid, gid
    raise RequestError(errno.EINVAL, "start: user must be a user's number, not root's, and a group's")


def take_restart(request: dict[str, Any]) -> Restart | None:
    if request.get("max_restarts") is None:
        return None
    limit, pause_seconds = take(request, "max_restarts", int), take(request, "pause_seconds", (int, float))
    if limit < 0 or not 0 <= pause_seconds < math.inf:
        raise RequestError(errno.EINVAL, f"start: {limit} restarts after {pause_seconds} s are not possible")
    return Restart(limit, pause_seconds)


class Client:
    """One connection: requests not yet served and answers not yet taken."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.lines: deque[bytes] = deque()
        self.outgoing = bytearray()


class Service:
    """Serves the clients in one thread until none is left and no party runs."""

    def __init__(self, listener: socket.socket, *, containment: Cgroups | Descendants, left: LeftGroups) -> None:
        self._listener = listener
        self._parties = Parties(self._announce, containment=containment, left=left)
        self._clients: dict[int, Client] = {}
        self._stopping: dict[str, list[tuple[Client, Any]]] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        if self._parties.outputs.descriptor >= 0:
            self._selector.register(self._parties.outputs.descriptor, selectors.EVENT_READ)
        self._stay_until = time.monotonic() + FIRST_CLIENT_SECONDS
        self._is_leaving = False

    def run(self) -> None:
        """Returns when the last client has gone and nothing runs; after SIGTERM as soon as nothing runs."""
        self._set_signals()
        while not self._is_done():
            try:
                self._turn()
            except Exception as error:
                log(f"fault: {type(error).__name__}: {error}")
                time.sleep(FAULT_PAUSE_SECONDS)  # one that repeats must not take a processor

    def _set_signals(self) -> None:
        for number in signal.valid_signals():
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)  # ignored by whoever started the server, as nohup does
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._leave)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def _leave(self, *_: object) -> None:
        self._is_leaving = True

    def _is_done(self) -> bool:
        if not self._parties.is_idle:
            return False
        return self._is_leaving or (not self._clients and time.monotonic() >= self._stay_until)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._timeout_seconds()):
            if key.fd == self._wake_reader:
                os.read(self._wake_reader, 4096)
                self._parties.reap()
            elif key.fd == self._parties.outputs.descriptor:
                self._parties.outputs.take_news()
            elif key.fileobj is self._listener:
                self._accept()
            elif key.fd in self._clients:
                self._receive(self._clients[key.fd])
        for client in list(self._clients.values()):
            if client.lines:
                # One request a turn, so that ended parties are reaped between two spawns.
                self._answer(client, client.lines.popleft())
        deadline = self._parties.next_deadline()
        if deadline is not None and deadline <= time.monotonic():
            self._parties.tick()
        for client in list(self._clients.values()):
            if client.outgoing:
                self._flush(client)

    def _timeout_seconds(self) -> float | None:
        if any(client.lines for client in self._clients.values()):
            return 0
        now = time.monotonic()
        due = [self._stay_until] if self._stay_until > now and not self._clients else []
        if (deadline := self._parties.next_deadline()) is not None:
            due.append(deadline)
        return max(0.0, min(due) - now) if due else None

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            log(f"connection not accepted: {error}")
            time.sleep(FAULT_PAUSE_SECONDS)
            return
        sock.setblocking(False)
        self._clients[sock.fileno()] = Client(sock)
        self._selector.register(sock, selectors.EVENT_READ)
        self._stay_until = 0.0

    def _receive(self, client: Client) -> None:
        if client.lines:
            return  # more is read when these are served: the client waits, not our memory
        try:
            data = client.sock.recv(READ_BYTES)
        except BlockingIOError:
            return  # ready for writing, which every turn tries anyway
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        *lines, client.rest = (client.rest + data).split(b"\n")
        client.lines.extend(lines)
        if len(client.rest) > MAX_REQUEST_BYTES:
            self._drop(client, f"client dropped: its request is larger than {MAX_REQUEST_BYTES} bytes")

    def _flush(self, client: Client) -> None:
        try:
            sent = client.sock.send(client.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        del client.outgoing[:sent]
        if len(client.outgoing) > MAX_BACKLOG_BYTES:
            self._drop(client, f"client dropped: it left {len(client.outgoing)} bytes unread")
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
        if self._selector.get_key(client.sock).events != wanted:
            self._selector.modify(client.sock, wanted)

    def _drop(self, client: Client, reason: str | None = None) -> None:
        if reason:
            log(reason)
        self._selector.unregister(client.sock)
        del self._clients[client.sock.fileno()]
        client.sock.close()

    def _answer(self, client: Client, line: bytes) -> None:
        number: Any = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise RequestError(errno.EINVAL, f"a request is a JSON object, not {line[:80]!r}")
            number = request.get("id")
            result = self._serve(client, request)
            if result is not None:
                self._send(client, {"id": number, "result": result})
            return
        except RequestError as refusal:
            error = {"errno": refusal.number, "text": str(refusal)}
        except (ValueError, RecursionError) as fault:
            error = {"errno": errno.EINVAL, "text": f"request refused: {fault}"}
        except Exception as fault:
            log(f"fault while serving a request: {type(fault).__name__}: {fault}")
            error = {"errno": errno.EIO, "text": f"shim fault: {fault}"}
        self._send(client, {"id": number, "error": error})

    def _serve(self, client: Client, request: dict[str, Any]) -> dict[str, Any] | None:
        """The result of a request, None when it is answered later."""
        match request.get("op"):
            case "start":
                return self._start(request)
            case "stop":
                return self._stop(client, request)
            case "recover":
                return self._parties.recover(take(request, "key", str), take_path(request, "dir"))
            case "list":
                parties = self._parties.running.values()
                return {"parties": [{"key": party.key, **party.describe()} for party in parties]}
            case "hello":
                kind = self._parties.containment.kind
                return {"version": PROTOCOL_VERSION, "pid": os.getpid(), "containment": kind}
        raise RequestError(errno.EINVAL, f"unknown op {str(request.get('op'))[:80]!r}")

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        argv = take(request, "argv", list)
        if not argv or not all(isinstance(arg, str) for arg in argv) or not argv[0].startswith("/"):
            raise RequestError(errno.EINVAL, "start: argv must be texts that begin with the program's absolute path")
        env = take(request, "env", dict)
        if not all(isinstance(value, str) for value in env.values()):
            raise RequestError(errno.EINVAL, "start: env must map names to texts")
        limit = take(request, "output_limit_bytes", (int, type(None)))
        if limit is not None and limit <= 0:
            raise RequestError(errno.EINVAL, f"start: output_limit_bytes must be positive, not {limit}")
        key, directory = take(request, "key", str), take_path(request, "dir")
        return self._parties.start(
            key,
            argv=argv,
            env=env,
            cwd=take_path(request, "cwd"),
            directory=directory,
            output_limit_bytes=limit,
            user=take_user(request),
            restart=take_restart(request),
            notice=take(request, "notice", str) if "notice" in request else "",
        )

    def _stop(self, client: Client, request: dict[str, Any]) -> dict[str, Any] | None:
        key, grace_seconds = take(request, "key", str), take(request, "grace_seconds", (int, float))
        if not 0 <= grace_seconds < math.inf:
            raise RequestError(errno.EINVAL, f"stop: grace_seconds must be 0 or more, not {grace_seconds}")
        if not self._parties.stop(key, grace_seconds):
            return {}
        self._stopping.setdefault(key, []).append((client, request.get("id")))
        return None

    def _announce(self, record: dict[str, Any]) -> None:
        event = {"event": "exited", "key": record["key"], "exit": record}
        for client in self._clients.values():
            self._send(client, event)
        for client, number in self._stopping.pop(record["key"], ()):
            self._send(client, {"id": number, "result": {}})

    def _send(self, client: Client, message: dict[str, Any]) -> None:
        client.outgoing += json.dumps(message).encode() + b"\n"
