"""Where a client finds its server: arguments go before the environment, and what could not be used is refused."""

import os
from pathlib import Path

import pytest

from kusciajob.client.settings import ClientSettings, TokenFile, find_settings, token_file_of
from kusciajob.security.errors import SecurityError

ENVIRONMENT = {
    "KUSCIAJOB_ADDRESS": "kuscia:8083",
    "KUSCIAJOB_CERT_DIR": "/certs",
    "KUSCIAJOB_TOKEN_FILE": "/run/token",
}


def test_arguments_go_before_the_environment_and_that_before_the_default() -> None:
    assert find_settings(environment={}) == ClientSettings("127.0.0.1:8083")
    found = find_settings(environment=ENVIRONMENT)
    assert found == ClientSettings("kuscia:8083", Path("/certs"), Path("/run/token"))
    given = find_settings("other:1", cert_dir="/mine", token_file=Path("/t"), environment=ENVIRONMENT)
    assert given == ClientSettings("other:1", Path("/mine"), Path("/t"))
    assert find_settings(cert_dir="~/certs", environment={}).cert_dir == Path.home() / "certs"


def test_a_token_that_would_not_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'/run/token'.*cert_dir"):
        find_settings(token_file=Path("/run/token"), environment={})
    only_the_file = {"KUSCIAJOB_TOKEN_FILE": "/run/token"}  # set for other servers, too
    assert find_settings("test:1", environment=only_the_file).credentials() is None


def test_the_token_is_beside_the_certificates_unless_it_is_elsewhere() -> None:
    assert token_file_of(Path("/certs")) == Path("/certs/token")
    assert token_file_of(Path("/certs"), Path("/run/token")) == Path("/run/token")


def test_a_token_file_is_read_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    token = TokenFile(file)
    with monkeypatch.context() as patch:
        patch.setattr("kusciajob.client.settings.read_token", lambda _: pytest.fail("it has not changed"))
        assert token.current() == "one"
    file.write_text("three")
    assert token.current() == "three"
    (tmp_path / "new").write_text("other")  # as a secret that is mounted is replaced
    os.utime(tmp_path / "new", ns=(0, file.stat().st_mtime_ns))
    (tmp_path / "new").replace(file)
    assert token.current() == "other"
    file.write_text(" \n")
    with pytest.raises(SecurityError, match=str(file)):
        token.current()
    file.write_text("again")
    assert token.current() == "again"
