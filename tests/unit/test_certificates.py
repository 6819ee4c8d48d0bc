"""What `kusciajob init` makes, and what the server makes of such files."""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from kusciajob.config import Settings
from kusciajob.security import certificates
from kusciajob.security.errors import SecurityError
from kusciajob.security.guard import Guard, open_guard
from kusciajob.security.provisioning import provision
from kusciajob.security.tls import load_tls
from kusciajob.security.tokens import load_tokens

CERTIFICATE_FILES = {"ca.crt", "ca.key", "server.crt", "server.key", "client.crt", "client.key"}


@pytest.fixture(scope="module")
def pems() -> dict[str, bytes]:
    return certificates.make_certificates(["localhost", "jobs.example.com", "127.0.0.1", "::1"])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Certificates and tokens of the master and alice."""
    provision(tmp_path / "certs", names=["localhost"], domains=["alice"])
    return tmp_path / "certs"


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, *, host: str = "localhost") -> str:
    """Connect in memory and return the TLS version; ssl.SSLError from the side that refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
            version = side.version()
    assert version is not None
    return version


def client_context(trusted: Path, identity: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted / "ca.crt")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if identity:
        context.load_cert_chain(identity / "client.crt", identity / "client.key")
    return context


def test_the_server_is_named_by_dns_names_and_addresses(pems: dict[str, bytes]) -> None:
    server = x509.load_pem_x509_certificate(pems["server.crt"])
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "jobs.example.com"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(a) for a in ("127.0.0.1", "::1")]


def test_certificates_are_valid_now_and_for_years(pems: dict[str, bytes]) -> None:
    for name in ("ca.crt", "server.crt", "client.crt"):
        certificate = x509.load_pem_x509_certificate(pems[name])
        assert certificate.not_valid_before_utc < datetime.now(UTC)
        assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)


def test_server_and_client_cannot_stand_in_for_each_other(directory: Path, tmp_path: Path) -> None:
    server = load_tls(directory, requires_client_certificate=True).context
    impostor = client_context(directory)
    impostor.load_cert_chain(directory / "server.crt", directory / "server.key")
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        shake_hands(server, impostor)
    for suffix in ("crt", "key"):
        (tmp_path / f"server.{suffix}").write_bytes((directory / f"client.{suffix}").read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(load_tls(tmp_path, requires_client_certificate=False).context, client_context(directory))


@pytest.mark.parametrize("name", ["", "a b", "-a", "a..b", "http://host", "host:8083", "ünïcode", "10.0.0.0/8"])
def test_a_name_that_can_be_no_server_is_refused(name: str) -> None:
    with pytest.raises(SecurityError, match="neither a DNS name nor an IP address"):
        certificates.make_certificates(["localhost", name])


def test_local_names_are_always_there_and_given_ones_replace_those_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "this-machine")
    local = ["localhost", "127.0.0.1", "::1"]
    assert certificates.server_names([])[:4] == [*local, "this-machine"]
    assert certificates.server_names(["jobs.example.com", "localhost"]) == [*local, "jobs.example.com"]
    monkeypatch.setattr("socket.gethostname", lambda: "no name")
    assert "no name" not in certificates.server_names([])


def test_everything_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        files = provision(tmp_path / "data" / "certs", names=["localhost"], domains=["alice", "a/b"])
    finally:
        os.umask(umask)
    domains = {f"domains/{name}.{kind}" for name in ("alice", "a%2Fb") for kind in ("token", "crt", "key")}
    expected = {*CERTIFICATE_FILES, "token", *domains}
    assert {str(file.relative_to(tmp_path / "data" / "certs")) for file in files} == expected
    for path in (tmp_path / "data").rglob("*"):
        assert (path.stat().st_mode & 0o777) == (0o700 if path.is_dir() else 0o600), path
    assert sorted(file for file in (tmp_path / "data").rglob("*") if file.is_file()) == sorted(files)


def test_every_token_is_another(directory: Path, tmp_path: Path) -> None:
    provision(tmp_path / "other", names=["localhost"], domains=["alice", "bob"])
    files = [*directory.rglob("*token"), *(tmp_path / "other").rglob("*token")]
    tokens = {file.read_text().strip() for file in files}
    assert len(tokens) == len(files) == 5
    assert all(len(token) == 64 for token in tokens)
    assert load_tokens(directory).domains == ["alice"]


@pytest.mark.parametrize("present", ["ca.key", "token", "domains/bob.token"])
def test_nothing_is_written_where_one_file_exists(tmp_path: Path, present: str) -> None:
    (tmp_path / present).parent.mkdir(exist_ok=True)
    (tmp_path / present).write_text("mine")
    with pytest.raises(SecurityError, match=f"{present} already.*--force"):
        provision(tmp_path, names=["localhost"], domains=["bob"])
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / present]
    assert (tmp_path / present).read_text() == "mine"


def test_overwriting_replaces_what_is_made_and_leaves_the_rest(directory: Path) -> None:
    before = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    written = set(provision(directory, names=["localhost"], domains=["bob"], overwrite=True))
    for file, content in before.items():
        assert (file.read_bytes() == content) == (file not in written), file
    assert load_tokens(directory).domains == ["alice", "bob"]


def test_an_empty_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="domain's name is empty"):
        provision(tmp_path, names=["localhost"], domains=["alice", ""])
    assert list(tmp_path.iterdir()) == []


def test_tls_works_with_1_2_and_1_3(directory: Path) -> None:
    server = load_tls(directory, requires_client_certificate=False).context
    client = client_context(directory)
    assert shake_hands(server, client) == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(server, client) == "TLSv1.2"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, host="elsewhere.example.com")


def test_with_mtls_a_client_needs_a_certificate_of_the_authority(directory: Path, tmp_path: Path) -> None:
    provision(tmp_path / "foreign", names=["localhost"], domains=[])
    server = load_tls(directory, requires_client_certificate=True).context
    shake_hands(server, client_context(directory, directory))
    for identity in (None, tmp_path / "foreign"):
        with pytest.raises(ssl.SSLError):
            shake_hands(server, client_context(directory, identity))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("server.crt", None, "server.crt cannot be read: No such file"),
        ("server.key", None, "server.key cannot be read: No such file"),
        ("ca.crt", None, "ca.crt cannot be read: No such file"),
        ("server.crt", b"junk", "server.crt and .*server.key cannot be used.*not PEM"),
        ("server.key", b"\x00\xff", "server.crt and .*server.key cannot be used"),
        ("ca.crt", b"junk", "ca.crt holds no certificate"),
        ("ca.crt", b"\x00\xff", "ca.crt holds no certificate"),
        ("token", None, "token cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(directory: Path, name: str, content: bytes | None, words: str) -> None:
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    with pytest.raises(SecurityError, match=words):
        Guard(directory, requires_client_certificate=True)


def test_a_key_of_another_certificate_or_under_a_password_is_refused(directory: Path) -> None:
    file = directory / "server.key"
    key = load_pem_private_key(file.read_bytes(), None)
    file.write_bytes((directory / "client.key").read_bytes())
    with pytest.raises(SecurityError, match="key values mismatch"):
        Guard(directory, requires_client_certificate=False)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(SecurityError, match=r"cannot be used.*unencrypted"):
        Guard(directory, requires_client_certificate=False)


def test_a_reload_changes_all_or_nothing(directory: Path) -> None:
    guard = Guard(directory, requires_client_certificate=True)
    old, tls = (directory / "token").read_text(), guard.tls
    provision(directory, names=["localhost"], domains=[], overwrite=True)
    new = (directory / "token").read_text()
    (directory / "domains" / "alice.token").write_text("")
    with pytest.raises(SecurityError, match=r"alice\.token holds no token"):
        guard.reload()
    assert guard.tls is tls
    assert guard.identify(old) == ""
    (directory / "domains" / "alice.token").unlink()
    guard.reload()
    assert guard.identify(new) == ""
    shake_hands(guard.ssl_context, client_context(directory, directory))


def test_a_client_of_the_authority_before_is_refused_after_a_reload(directory: Path, tmp_path: Path) -> None:
    guard = Guard(directory, requires_client_certificate=True)
    client = client_context(directory, directory)
    shake_hands(guard.ssl_context, client)
    provision(directory, names=["localhost"], domains=[], overwrite=True)
    guard.reload()
    client.load_verify_locations(directory / "ca.crt")
    with pytest.raises(ssl.SSLError):
        shake_hands(guard.ssl_context, client)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_without_certificates_loopback_is_served_without_tls(tmp_path: Path, host: str) -> None:
    assert open_guard(Settings(host=host, data_dir=tmp_path)) is None
    assert open_guard(Settings(host=host, data_dir=tmp_path, protocol="notls")) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "jobs.example.com", "localhost.example.com"])
def test_without_tls_other_addresses_need_the_flag(tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SecurityError, match=r"kusciajob init.*--allow-insecure-bind"):
        open_guard(Settings(host=host, data_dir=tmp_path))
    assert open_guard(Settings(host=host, data_dir=tmp_path, allow_insecure_bind=True)) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_certificates_make_mtls_the_default_on_any_host(directory: Path) -> None:
    guard = open_guard(Settings(host="0.0.0.0", cert_dir=directory))
    assert guard is not None
    assert guard.requires_client_certificate
    assert open_guard(Settings(data_dir=directory.parent)) is not None
    assert open_guard(Settings(data_dir=directory.parent, protocol="notls")) is None


@pytest.mark.parametrize("left", [["ca.crt"], ["server.crt"], ["server.key"], ["token"], ["server.crt", "server.key"]])
def test_an_incomplete_set_of_files_is_never_served_without_tls(directory: Path, left: Sequence[str]) -> None:
    for file in list(directory.iterdir()):
        if file.is_file() and file.name not in left:
            file.unlink()
    with pytest.raises(SecurityError, match="cannot be read"):
        open_guard(Settings(cert_dir=directory))


def test_tls_needs_no_authority(directory: Path) -> None:
    (directory / "ca.crt").unlink()
    guard = open_guard(Settings(cert_dir=directory, protocol="tls"))
    assert guard is not None
    assert not guard.requires_client_certificate
