"""Tokens: the master's in `token`, a domain's in `domains/<domain>.token`; white space around them is ignored."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from kusciajob.security.errors import SecurityError, Unauthenticated

MASTER = ""
MASTER_FILE = "token"
DOMAIN_DIRECTORY = "domains"
SUFFIX = ".token"

_TOKEN = re.compile(rb"[!-~]+")


class Tokens:
    """Knows callers by their tokens, of which it keeps only the SHA-256."""

    def __init__(self, tokens: Mapping[str, bytes]) -> None:
        self._digests = {domain: _digest(token) for domain, token in tokens.items()}

    @property
    def domains(self) -> list[str]:
        """The domains that have a token."""
        return sorted(domain for domain in self._digests if domain != MASTER)

    def identify(self, token: str | bytes | None) -> str:
        """The domain that has this token; MASTER for the master's. Raises Unauthenticated.

        Every known token is compared, each in constant time, so that the answer's time tells nothing about them.
        """
        presented = _presented(token)
        if not presented:
            raise Unauthenticated('the token is missing: send it as gRPC metadata "token" or as HTTP header "Token"')
        digest = _digest(presented)
        matches = [domain for domain, known in self._digests.items() if hmac.compare_digest(known, digest)]
        if not matches:
            raise Unauthenticated("the token is wrong: it is neither the master's nor that of a domain")
        return matches[0]

    def check(self, domain: str, digest: bytes) -> None:
        """Raise Unauthenticated unless the digest is that of the domain's (or MASTER's) present token."""
        known = self._digests.get(domain)
        if known is None or not hmac.compare_digest(known, digest):
            raise Unauthenticated("the token was withdrawn: it is neither the master's nor that of a domain any more")


def load_tokens(directory: Path) -> Tokens:
    """The tokens in the directory's files. SecurityError names the file that is missing or cannot be used."""
    tokens = {MASTER: _read(directory / MASTER_FILE)}
    holders = {tokens[MASTER]: directory / MASTER_FILE}
    for file in sorted((directory / DOMAIN_DIRECTORY).glob(f"*{SUFFIX}")):
        domain = unquote(file.name.removesuffix(SUFFIX))
        if not domain or file != domain_file(directory, domain):
            raise SecurityError(f"token file {file} names no domain: expected <domain id, percent-encoded>{SUFFIX}")
        token = tokens[domain] = _read(file)
        if token in holders:
            raise SecurityError(f"token files {holders[token]} and {file} hold the same token: each needs its own")
        holders[token] = file
    return Tokens(tokens)


def domain_file(directory: Path, domain: str) -> Path:
    """Where the token of a domain is; the id's unusual characters are percent-encoded."""
    return directory / DOMAIN_DIRECTORY / f"{quote(domain, safe='')}{SUFFIX}"


def digest_of(token: str | bytes | None) -> bytes:
    """The SHA-256 of a token, the only thing that is kept of it."""
    return _digest(_presented(token))


def _presented(token: str | bytes | None) -> bytes:
    return (token.encode(errors="surrogateescape") if isinstance(token, str) else token or b"").strip()


def read_token(file: Path) -> str:
    """The token in the file. Raises OSError; SecurityError if it holds none."""
    token = file.read_bytes().strip()
    if not _TOKEN.fullmatch(token):
        raise SecurityError(f"token file {file} holds no token: expected one word of visible ASCII characters")
    return token.decode()


def _read(file: Path) -> bytes:
    try:
        return read_token(file).encode()
    except OSError as error:
        raise SecurityError(
            f"token file {file} cannot be read: {error.strerror}; `kusciajob init` makes a new set of files"
        ) from None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
