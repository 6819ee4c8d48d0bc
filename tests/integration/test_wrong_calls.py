"""A server called the wrong way: the CLI says which slip it is and what to type, the HTTP port's log tells it once."""

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
import pytest_asyncio
from msgspec import Struct

from tests.support.callers import ANSWERED, GRPC_OPERATIONS, Caller
from tests.support.polling import eventually
from tests.support.program import Finished, assert_refused, kusciajob
from tests.support.secured import Place, secured_server, token_in

pytestmark = pytest.mark.hostile

PROTOCOLS = ("notls", "tls", "mtls")
AT_ONCE = 2
TOKEN = "Wr0ngT0kenThatNobodyShouldRepeat"  # noqa: S105


class Directories(Struct, frozen=True):
    """Directories of certificates, each with one slip."""

    right: Path
    """Made for all servers."""
    foreign: Path
    """Of an authority that no server knows."""
    without_certificate: Path
    mixed: Path
    """The servers' authority, and a client certificate that it has not signed."""
    without_token: Path
    two_tokens: Path
    wrong_token: Path
    no_pem: Path


def make_directories(place: Place, root: Path) -> Directories:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(place.certs, root / name))

    made = Directories(place.certs, place.foreign, *map(copy, Directories.__struct_fields__[2:]))
    (made.without_certificate / "client.crt").unlink()
    for name in ("client.crt", "client.key"):
        shutil.copy(made.foreign / name, made.mixed / name)
    (made.without_token / "token").unlink()
    (made.two_tokens / "token").write_text(f"{TOKEN}\n{TOKEN}\n")
    (made.wrong_token / "token").write_text(TOKEN)
    (made.no_pem / "ca.crt").write_text("no certificate")
    return made


class Case(Struct, frozen=True):
    """A call: to an address, by a directory of certificates or without TLS; and words of the sentence it ends with."""

    address: str
    """`<protocol> grpc` or `<protocol> http`, or an address as it is."""
    certs: str
    words: tuple[str, ...]


GRPC_ADDRESS = "--server takes the gRPC address, port 8083 by default"
CASES = {
    "no certificates, TLS": Case("tls grpc", "", ("speaks TLS", "with --cert-dir DIR (or KUSCIAJOB_CERT_DIR)")),
    "no certificates, mtls": Case("mtls grpc", "", ("speaks TLS", "with --cert-dir DIR")),
    "certificates, no TLS": Case("notls grpc", "right", ("does not speak TLS", "call it without --cert-dir")),
    "HTTP port, no TLS": Case("notls http", "", ("is an HTTP port:", GRPC_ADDRESS)),
    "HTTP port with TLS, no certificates": Case("tls http", "", ("HTTP port with TLS", GRPC_ADDRESS, "--cert-dir DIR")),
    "HTTP port without TLS, certificates": Case("notls http", "right", ("without TLS", GRPC_ADDRESS, "without --cert")),
    "HTTP port, TLS": Case("tls http", "right", ("is an HTTP port:", GRPC_ADDRESS)),
    "HTTP port, mtls": Case("mtls http", "without_certificate", ("is an HTTP port:", GRPC_ADDRESS)),
    "no client certificate": Case(
        "mtls grpc", "without_certificate", ("asks for a client certificate (mtls)", "client.crt: copy client.crt")
    ),
    "client certificate of another authority": Case(
        "mtls grpc", "mixed", ("does not accept", "mixed/client.crt", "copy client.crt and client.key")
    ),
    "server certificate of another authority": Case(
        "tls grpc", "foreign", ("foreign/ca.crt has not signed", "copy ca.crt", "another directory by --cert-dir")
    ),
    "another name": Case(
        "127.0.0.2:{tls grpc}",
        "right",
        ("not for 127.0.0.2 but for localhost, 127.0.0.1:", "kusciajob init --san 127.0.0.2 --force"),
    ),
    "no token": Case("tls grpc", "without_token", ("token cannot be read", "--token-file names another")),
    "two tokens": Case("tls grpc", "two_tokens", ("holds no token", "one word", "--token-file names another")),
    "wrong token": Case("tls grpc", "wrong_token", ("the token is wrong", "wrong_token/token", "by --token-file")),
    "no PEM": Case("tls grpc", "no_pem", ("no_pem/ca.crt holds no certificate as PEM", "copy ca.crt")),
    "URL": Case("http://localhost:{notls grpc}/", "", ("HOST:PORT, not a URL", "type --server localhost:")),
    "no port": Case("127.0.0.1", "", ("127.0.0.1 has no port", "type --server 127.0.0.1:8083")),
    "neither gRPC nor HTTP": Case("{stranger}", "", ("is no job server's", GRPC_ADDRESS)),
    "nobody there": Case("127.0.0.1:9", "", ("no job server can be reached at 127.0.0.1:9", "`kusciajob serve`")),
}
AS_JSON = ("no certificates, TLS", "wrong token")


@contextmanager
def stranger() -> Iterator[int]:
    """A port where each connection is greeted as SSH does; what it hears of a connection is all read."""

    def greet() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                while connection.recv(1000):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=greet)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Place]]:
    """A server per protocol, all with the same files; the one of tls listens on every address."""
    async with AsyncExitStack() as stack:
        hosts = {"notls": "127.0.0.1", "tls": "0.0.0.0", "mtls": "127.0.0.1"}
        opening = (
            secured_server(tmp_path_factory.mktemp(protocol), protocol=protocol, host=hosts[protocol])
            for protocol in PROTOCOLS
        )
        entered = await asyncio.gather(*(stack.enter_async_context(place) for place in opening))
        yield dict(zip(PROTOCOLS, entered, strict=True))


def port_of(place: Place, edge: str) -> str:
    address = place.http_address if edge == "http" else place.server.address
    return address.rpartition(":")[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endings(places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """What became of each case, called by the program; and of some with `-o json`."""
    directories = {
        protocol: make_directories(place, tmp_path_factory.mktemp("directories")) for protocol, place in places.items()
    }
    ports = {f"{name} {edge}": port_of(place, edge) for name, place in places.items() for edge in ("grpc", "http")}
    turns = asyncio.Semaphore(AT_ONCE)

    async def call(name: str, *options: str) -> Finished:
        case = CASES[name]
        address = f"127.0.0.1:{ports[case.address]}" if case.address in ports else case.address
        for known, port in ports.items():
            address = address.replace(f"{{{known}}}", port)
        protocol = case.address.strip("{}").split()[0]
        certs = directories[protocol if protocol in PROTOCOLS else "tls"]
        chosen = ("--cert-dir", getattr(certs, case.certs)) if case.certs else ()
        async with turns:
            return await asyncio.to_thread(kusciajob, "status", "any", "--server", address, *chosen, *options)

    with stranger() as port:
        ports["stranger"] = f"127.0.0.1:{port}"
        texts, objects = await asyncio.gather(
            asyncio.gather(*(call(name) for name in CASES)),
            asyncio.gather(*(call(name, "-o", "json") for name in AS_JSON)),
        )
    return dict(zip(CASES, texts, strict=True)) | {
        f"{name} as JSON": finished for name, finished in zip(AS_JSON, objects, strict=True)
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_the_slip_is_named_in_one_sentence_with_what_to_type(endings: dict[str, Finished], name: str) -> None:
    assert_refused(endings[name], *CASES[name].words)
    assert TOKEN not in endings[name].stderr


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", AS_JSON)
async def test_a_slip_is_an_error_object_for_programs(endings: dict[str, Finished], name: str) -> None:
    finished = endings[f"{name} as JSON"]
    assert finished.returncode == 1
    assert finished.stdout == ""
    error = json.loads(finished.stderr)
    assert error["code"] == 1
    assert [word for word in CASES[name].words if word not in error["message"]] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_the_probe_is_given_no_token(places: dict[str, Place]) -> None:
    heard = bytearray()

    def listen(listening: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(places["tls"].certs / "server.crt", places["tls"].certs / "server.key")
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as secured:
                secured.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while data := secured.recv(10_000):
                    heard.extend(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=listen, args=[listening])
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        certs = places["tls"].certs
        finished = await asyncio.to_thread(kusciajob, "status", "any", "--server", address, "--cert-dir", certs)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert_refused(finished, "is an HTTP port:")
    assert heard.startswith(b"PRI * HTTP/2.0")
    assert token_in(certs / "token").encode() not in heard


def begin(port: str, start: bytes, *, times: int = 3) -> None:
    """Connections that begin with these bytes and wait for the end of what they are answered."""
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as connection:
            connection.sendall(start)
            with suppress(ConnectionResetError):
                while connection.recv(1000):
                    pass


def handshake(port: str, context: ssl.SSLContext, *, times: int = 3) -> None:
    """TLS handshakes, and what a client hears that has nothing to say."""
    for _ in range(times):
        with (
            socket.create_connection(("127.0.0.1", int(port)), timeout=20) as connection,
            suppress(OSError),
            context.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            secured.recv(1000)


LOGGED: dict[str, tuple[str, Callable[[str, Place], None], str]] = {
    "plain HTTP on TLS": (
        "tls",
        lambda port, _: begin(port, b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "sends plain HTTP to the HTTP port, which has TLS: it has to call https://",
    ),
    "plain HTTP by another method on TLS": (
        "mtls",
        lambda port, _: begin(port, b"DELETE /healthZ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "sends what is no TLS (plain HTTP or gRPC, perhaps) to the HTTP port",
    ),
    "TLS on plain HTTP": (
        "notls",
        lambda port, place: handshake(port, Caller(place.certs).ssl_context),
        "begins TLS on the HTTP port, which has none: it has to call http://",
    ),
    "gRPC on plain HTTP": (
        "notls",
        lambda port, _: begin(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "speaks gRPC or HTTP/2 to the HTTP port: gRPC has a port of its own",
    ),
    "no client certificate": (
        "mtls",
        lambda port, place: handshake(port, Caller(place.certs).ssl_context),
        "shows no client certificate on the HTTP port",
    ),
    "client certificate of another authority": (
        "mtls",
        lambda port, place: handshake(port, Caller(place.certs, place.foreign).ssl_context),
        "shows a client certificate on the HTTP port that is not accepted",
    ),
    "server certificate not accepted": (
        "tls",
        lambda port, place: handshake(port, Caller(place.foreign).ssl_context),
        "does not accept this server's certificate on the HTTP port",
    ),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", LOGGED)
async def test_the_http_ports_log_tells_a_slip_once_for_each_peer(places: dict[str, Place], name: str) -> None:
    protocol, call, text = LOGGED[name]
    place = places[protocol]
    await asyncio.to_thread(call, port_of(place, "http"), place)

    def lines() -> list[str]:
        return [line for line in place.server.log.read_text().splitlines() if text in line]

    (line,) = await eventually(lines)
    assert " WARNING kusciajob.api.http.log 127.0.0.1 " in line
    log = place.server.log.read_text()
    assert "Traceback" not in log
    assert "refused what is no HTTP request" not in log


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_grpc_port_hangs_up_on_what_is_no_grpc_and_serves_on(places: dict[str, Place], protocol: str) -> None:
    place = places[protocol]
    port = port_of(place, "grpc")
    await asyncio.to_thread(begin, port, b"GET /healthZ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.to_thread(handshake, port, Caller(place.foreign).ssl_context)
    caller = Caller() if protocol == "notls" else place.master
    (answer,) = (await caller.call_grpc(f"127.0.0.1:{port}", GRPC_OPERATIONS[:1])).values()
    assert answer.outcome == ANSWERED, answer
    assert "Traceback" not in place.server.log.read_text()
