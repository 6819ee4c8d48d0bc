"""Tokens: who is known by which, and which files are refused."""

from pathlib import Path

import pytest

from kusciajob.security.errors import SecurityError, Unauthenticated
from kusciajob.security.tokens import Tokens, domain_file, load_tokens


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The master's token is "M4ster", alice's "Al1ce"."""
    (tmp_path / "domains").mkdir()
    (tmp_path / "token").write_text("M4ster")
    (tmp_path / "domains" / "alice.token").write_text("Al1ce")
    return tmp_path


@pytest.mark.parametrize(
    ("presented", "holder"), [("M4ster", ""), ("Al1ce", "alice"), (b"Al1ce", "alice"), (" Al1ce\t", "alice")]
)
def test_a_token_tells_its_holder(directory: Path, presented: str | bytes, holder: str) -> None:
    assert load_tokens(directory).identify(presented) == holder


@pytest.mark.parametrize("presented", [None, "", b"", "  "])
def test_a_missing_token_is_told_with_where_it_goes(directory: Path, presented: str | None) -> None:
    with pytest.raises(Unauthenticated, match=r'missing.*metadata "token".*header "Token"'):
        load_tokens(directory).identify(presented)


@pytest.mark.parametrize("presented", ["M4ste", "M4ster2", "m4ster", "Al1ce M4ster", "\udcff", "é", b"\xff"])
def test_a_wrong_token_is_refused_and_not_repeated(directory: Path, presented: str | bytes) -> None:
    with pytest.raises(Unauthenticated) as refused:
        load_tokens(directory).identify(presented)
    assert str(refused.value) == "the token is wrong: it is neither the master's nor that of a domain"


def test_white_space_around_a_token_in_its_file_is_ignored(directory: Path) -> None:
    (directory / "token").write_text("\n M4ster \r\n\n")
    assert load_tokens(directory).identify("M4ster") == ""


@pytest.mark.parametrize("domain", ["alice.org", "a/b", "..", "ünïcode", "%41", "a b\n"])
def test_a_domain_of_any_name_has_a_file_of_its_own(directory: Path, domain: str) -> None:
    file = domain_file(directory, domain)
    assert file.parent == directory / "domains"
    file.write_text("0ther")
    tokens = load_tokens(directory)
    assert tokens.identify("0ther") == domain
    assert tokens.domains == sorted(["alice", domain])


def test_other_files_beside_the_tokens_are_ignored(directory: Path) -> None:
    for name in ("alice.token~", "README", ".bob.token.swp"):
        (directory / "domains" / name).write_text("0ther")
    assert load_tokens(directory).domains == ["alice"]


def test_a_master_alone_is_enough(directory: Path) -> None:
    (directory / "domains" / "alice.token").unlink()
    (directory / "domains").rmdir()
    assert load_tokens(directory).domains == []


@pytest.mark.parametrize("content", [b"", b" \n", b"two Al1ces", b"Al1ce\nB0b", b"Al1ce\xff", "Alícé".encode()])
@pytest.mark.parametrize("name", ["token", "domains/alice.token"])
def test_a_file_without_one_clean_token_is_refused_and_not_shown(directory: Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(SecurityError, match="holds no token: expected one word") as refused:
        load_tokens(directory)
    assert str(directory / name) in str(refused.value)
    assert "Al" not in str(refused.value).replace(str(directory), "")


def test_a_missing_master_token_is_named(directory: Path) -> None:
    (directory / "token").unlink()
    with pytest.raises(SecurityError, match="token cannot be read: No such file"):
        load_tokens(directory)


@pytest.mark.parametrize("name", [".token", "%61lice.token", "a b.token", "%ff.token"])
def test_a_file_that_would_name_no_domain_or_one_that_has_a_file_is_refused(directory: Path, name: str) -> None:
    (directory / "domains" / name).write_text("0ther")
    with pytest.raises(SecurityError, match="names no domain"):
        load_tokens(directory)


def test_two_holders_of_one_token_are_refused(directory: Path) -> None:
    (directory / "domains" / "bob.token").write_text("Al1ce\n")
    with pytest.raises(SecurityError, match=r"alice\.token and .*bob\.token hold the same token"):
        load_tokens(directory)


def test_tokens_are_not_kept(directory: Path) -> None:
    tokens = Tokens({"": b"M4ster"})
    assert "M4ster" not in f"{tokens!r} {vars(tokens)!r}"
