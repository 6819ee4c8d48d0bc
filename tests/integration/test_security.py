"""Who gets an answer: both ports under every protocol, for callers with every kind of certificate and token."""

import asyncio
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2_grpc
from kusciajob.security.provisioning import provision
from kusciajob.security.tokens import domain_file
from tests.support.callers import (
    ANSWERED,
    API,
    GRPC_OPERATIONS,
    HTTP_OPERATIONS,
    REFUSED,
    UNAUTHENTICATED,
    Caller,
)
from tests.support.polling import PATIENCE_SECONDS, eventually
from tests.support.requests import create, ended, job_request
from tests.support.secured import SERVER_NAMES, Place, http_address, secured_server, token_in
from tests.support.server import clean_environment, running_server

PROTOCOLS = ("notls", "tls", "mtls")
WRONG_TOKEN = "Wr0ngT0kenThatNobodyShouldRepeat"  # noqa: S105
QUERY = f"/{API}.JobService/QueryJob"


async def create_job(place: Place, caller: Caller) -> None:
    """A job of alice and bob, so that their watches and the master's have something to tell."""
    async with caller.channel(place.server.address) as channel:
        stub = job_pb2_grpc.JobServiceStub(channel)
        response = await stub.CreateJob(job_request("any"), metadata=caller.metadata)
    assert response.status.code == 0, response.status.message


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Place]]:
    """A server per protocol, each with a job."""
    async with AsyncExitStack() as stack:
        opening = (secured_server(tmp_path_factory.mktemp(protocol), protocol=protocol) for protocol in PROTOCOLS)
        entered = await asyncio.gather(*(stack.enter_async_context(place) for place in opening))
        places = dict(zip(PROTOCOLS, entered, strict=True))
        for protocol, place in places.items():
            await create_job(place, Caller() if protocol == "notls" else place.master)
        yield places


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("token", ["right", "a domain's", "wrong", "missing"])
@pytest.mark.parametrize("certificate", ["right", "foreign", "missing", "no TLS"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_what_is_answered_by_every_operation(
    places: dict[str, Place], transport: str, protocol: str, certificate: str, token: str
) -> None:
    place = places[protocol]
    caller = Caller(
        trusted=None if certificate == "no TLS" else place.certs,
        identity={"right": place.certs, "foreign": place.foreign}.get(certificate),
        token={
            "right": token_in(place.certs / "token"),
            "a domain's": token_in(domain_file(place.certs, "bob")),
            "wrong": WRONG_TOKEN,
        }.get(token),
    )
    accepted = {"notls": ["no TLS"], "tls": ["right", "foreign", "missing"], "mtls": ["right"]}
    if certificate not in accepted[protocol]:
        expected = REFUSED
    elif protocol == "notls" or token in ("right", "a domain's"):
        expected = ANSWERED
    else:
        expected = UNAUTHENTICATED
    if transport == "grpc":
        answers = await caller.call_grpc(place.server.address)
        operations = GRPC_OPERATIONS
    else:
        answers = await caller.call_http(place.http_address)
        operations = HTTP_OPERATIONS
    assert {operation: answer.outcome for operation, answer in answers.items()} == dict.fromkeys(operations, expected)
    if expected is UNAUTHENTICATED:
        assert all(f"the token is {token}" in answer.text for answer in answers.values()), answers


@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_token_http_answers_an_error_response(places: dict[str, Place]) -> None:
    place = places["tls"]
    (answer,) = (await Caller(place.certs).call_http(place.http_address, ["POST /api/v1/job/query"])).values()
    status, _, body = answer.text.partition(" ")
    assert status == "401"
    assert "the token is missing" in json.loads(body)["status"]["message"]
    assert json.loads(body)["status"]["code"] != 0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_that_does_not_verify_the_server_is_served(places: dict[str, Place]) -> None:
    place = places["mtls"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(place.certs / "client.crt", place.certs / "client.key")

    def ask() -> int:
        connection = http.client.HTTPSConnection(place.http_address, context=context, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", "/healthZ", headers={"token": f" {place.master.token} "})
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(ask) == 200


def client_hello(version: bytes) -> bytes:
    """A TLS client's first message that offers no version above the given one."""
    suites = bytes.fromhex("c02bc009c02fc013009c002f")
    extensions = bytes.fromhex(
        "000a0004 0002 0017"  # groups: P-256
        "000b0002 0100"  # points: uncompressed
        "000d0006 0004 0403 0401"  # signatures: ECDSA and RSA with SHA-256
        "0010000e 000c 026832 08687474702f312e31"  # ALPN: h2, http/1.1
    )
    body = version + bytes(32) + b"\0" + len(suites).to_bytes(2) + suites + b"\1\0"
    body += len(extensions).to_bytes(2) + extensions
    message = b"\1" + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(message).to_bytes(2) + message


def first_answer(address: str, request: bytes) -> bytes:
    """What a server says first to these bytes; empty when it closes the connection."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        try:
            return connection.recv(1000)
        except ConnectionResetError:
            return b""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("port", ["grpc", "http"])
@pytest.mark.parametrize("protocol", ["tls", "mtls"])
async def test_nothing_older_than_tls_1_2(places: dict[str, Place], protocol: str, port: str) -> None:
    place = places[protocol]
    address = place.server.address if port == "grpc" else place.http_address
    handshake = b"\x16"
    assert (await asyncio.to_thread(first_answer, address, client_hello(b"\3\3")))[:1] == handshake
    for version in (b"\3\0", b"\3\1", b"\3\2"):
        assert (await asyncio.to_thread(first_answer, address, client_hello(version)))[:1] != handshake


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("port", ["grpc", "http"])
async def test_plain_http_on_a_tls_port_is_closed_at_once_and_makes_no_noise(
    places: dict[str, Place], port: str
) -> None:
    server = places["tls"].server
    address = server.address if port == "grpc" else http_address(server)
    answer = await asyncio.to_thread(first_answer, address, b"POST /healthZ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 200")
    assert "Traceback" not in server.log.read_text()


async def query(place: Place, caller: Caller) -> tuple[str, str]:
    """What becomes of a query over gRPC and over HTTP."""
    path = "POST /api/v1/job/query"
    by_grpc = await caller.call_grpc(place.server.address, [QUERY])
    by_http = await caller.call_http(place.http_address, [path])
    return by_grpc[QUERY].outcome, by_http[path].outcome


async def reload(place: Place, words: str) -> None:
    """Send SIGHUP and wait until the log says those words again."""
    told = place.server.log.read_text().count(words)
    place.server.process.send_signal(signal.SIGHUP)
    await eventually(lambda: place.server.log.read_text().count(words) > told)


async def test_sighup_replaces_tokens_and_certificates_and_broken_ones_change_nothing(tmp_path: Path) -> None:
    answered, unauthenticated, refused = (ANSWERED, ANSWERED), (UNAUTHENTICATED, UNAUTHENTICATED), (REFUSED, REFUSED)
    async with secured_server(tmp_path) as place:  # by default with mtls, as there are certificates
        old = place.master
        assert await query(place, Caller(place.certs, None, old.token)) == refused

        domain_file(place.certs, "dave").write_text("\n  Dav3sT0ken \n")
        domain_file(place.certs, "alice").unlink()
        dave, alice = Caller(place.certs, place.certs, "Dav3sT0ken"), Caller(place.certs, place.certs, "unknown")
        assert await query(place, dave) == unauthenticated
        await reload(place, "master token read")
        assert await query(place, dave) == answered
        assert await query(place, alice) == unauthenticated

        (place.certs / "token").write_text("")
        await reload(place, "certificates and tokens stay as they were")
        assert await query(place, old) == answered

        kept = Path(shutil.copytree(place.certs, tmp_path / "kept"))
        provision(place.certs, names=SERVER_NAMES, domains=[], overwrite=True)
        key = (place.certs / "server.key").read_bytes()
        (place.certs / "server.key").write_bytes((place.certs / "client.key").read_bytes())
        await reload(place, "certificates and tokens stay as they were")
        assert await query(place, Caller(kept, kept, old.token)) == answered

        (place.certs / "server.key").write_bytes(key)
        await reload(place, "master token read")
        assert await query(place, place.master) == answered
        assert await query(place, Caller(kept, kept, place.master.token)) == refused
        assert await query(place, Caller(place.certs, kept, place.master.token)) == refused
        assert await query(place, Caller(place.certs, place.certs, old.token)) == unauthenticated


async def test_sighup_without_tls_is_harmless(tmp_path: Path) -> None:
    async with running_server(tmp_path, runtime="simulated") as server:
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "nothing to reload" in server.log.read_text())
        assert server.is_running


def secrets_of(directories: Iterable[Path]) -> set[str]:
    """Every token, and every line of every key."""
    secrets = {WRONG_TOKEN}
    for directory in directories:
        secrets |= {token_in(file) for file in directory.rglob("*token")}
        for key in directory.rglob("*.key"):
            secrets |= {line for line in key.read_text().splitlines() if not line.startswith("-----")}
    return secrets


async def test_no_log_and_no_answer_holds_a_token_or_a_key(tmp_path: Path) -> None:
    texts = []
    async with secured_server(tmp_path, log_level="debug") as place:
        await create_job(place, place.master)
        tokens = [place.master.token, place.domain("alice").token, WRONG_TOKEN, f"{place.master.token}x", None]
        for caller in [Caller(place.certs, place.certs, token) for token in tokens] + [
            Caller(place.certs, place.foreign, place.master.token),
            Caller(None, None, place.master.token),
        ]:
            texts += [answer.text for answer in (await caller.call_grpc(place.server.address)).values()]
            texts += [answer.text for answer in (await caller.call_http(place.http_address)).values()]
        (place.certs / "domains" / "dave.token").write_text(f"{place.master.token}\n")
        await reload(place, "certificates and tokens stay as they were")
        (place.certs / "server.key").write_bytes((place.certs / "ca.key").read_bytes())
        await reload(place, "certificates and tokens stay as they were")
        secrets = secrets_of([place.certs, place.foreign])
    log = await place.server.logged("refused a gRPC call from ipv4:127.0.0.1")
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in log or any(secret in text for text in texts)] == []
    assert "Traceback" not in log


def serve(directory: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    command = [sys.executable, "-m", "kusciajob", "serve", "--runtime=simulated", "--grpc-port=0", "--http-port=0"]
    return subprocess.run(
        [*command, f"--data-dir={directory / 'data'}", *flags],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_an_open_port_is_refused_in_one_line_unless_it_is_asked_for(tmp_path: Path) -> None:
    result = serve(tmp_path, "--host=0.0.0.0")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "'0.0.0.0' is no loopback address" in line
    assert "--allow-insecure-bind" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("protocol", ["tls", "mtls"])
def test_tls_without_certificates_is_refused_in_one_line(tmp_path: Path, protocol: str) -> None:
    result = serve(tmp_path, f"--protocol={protocol}")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "server.crt cannot be read: No such file or directory; `kusciajob init` makes" in line


async def test_an_ipv6_address_needs_no_brackets(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with running_server(tmp_path, host="::1", runtime="simulated") as server:
        assert server.address.startswith("[::1]:")
        await create(server.stub, job_request("any"))
        answers = await Caller().call_http(http_address(server), ["GET /healthZ"])
        assert answers["GET /healthZ"].outcome == ANSWERED


async def test_an_open_port_that_is_asked_for_is_served_with_a_warning(tmp_path: Path) -> None:
    async with running_server(tmp_path, host="0.0.0.0", runtime="simulated", config=write_insecure(tmp_path)) as server:
        assert "WARNING kusciajob.security.guard no TLS and no tokens on host '0.0.0.0'" in server.log.read_text()
        await create(server.stub, job_request("open"))
        await ended(server.stub, "open")


def write_insecure(directory: Path) -> Path:
    """A configuration file that allows it."""
    file = directory / "settings.toml"
    file.write_text("allow_insecure_bind = true\n")
    return file


def init(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kusciajob", "init", *arguments]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)


def test_init_does_not_replace_files_by_itself(tmp_path: Path) -> None:
    assert init("--dir", str(tmp_path)).returncode == 0
    again = init("--dir", str(tmp_path))
    assert (again.returncode, again.stdout) == (1, "")
    (line,) = again.stderr.splitlines()
    assert "ca.crt" in line
    assert "--force" in line
    assert init("--dir", str(tmp_path), "--force").returncode == 0


def test_init_writes_where_the_server_looks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kusciajob", "init"]
    environment = {**clean_environment(), "KUSCIAJOB_DATA_DIR": str(tmp_path / "data")}
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert (tmp_path / "data" / "certs" / "server.crt").exists()


async def test_the_lines_that_init_prints_can_be_run(tmp_path: Path) -> None:
    certs = tmp_path / "data dir" / "it's"
    made = await asyncio.to_thread(init, "--dir", str(certs), "--domain", "alice", "--san", "example.com")
    assert [secret for secret in secrets_of([certs]) if secret in made.stdout] == []
    assert "localhost, 127.0.0.1, ::1, example.com." in made.stdout
    async with running_server(tmp_path, cert_dir=certs, runtime="simulated") as server:
        lines = made.stdout.replace("localhost:8083", server.address).replace("localhost:8082", http_address(server))
        sections = dict(re.findall(r"^# (.+)\n((?:.+\n|\n(?!# ))+)", f"{lines}\n", re.MULTILINE))
        assert set(sections) == {"the server", "grpcurl", "curl", "Python"}
        for name, tool in (("grpcurl", "grpcurl"), ("curl", "curl"), ("Python", sys.executable)):
            if shutil.which(tool) is None:
                continue
            shell = await asyncio.create_subprocess_exec("sh", "-c", sections[name], stdout=asyncio.subprocess.PIPE)
            output, _ = await shell.communicate()
            assert shell.returncode == 0
            assert b"success" in output
            assert re.search(rb"ready\W+true", output)
