"""Writes everything that a protected server and its clients need."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from kusciajob.security.certificates import make_certificates
from kusciajob.security.errors import SecurityError
from kusciajob.security.tokens import MASTER_FILE, domain_file

TOKEN_BYTES = 32


def provision(directory: Path, *, names: Sequence[str], domains: Sequence[str], overwrite: bool = False) -> list[Path]:
    """Write certificates for these host names, and for each domain one and a token; return the files.

    Files are readable by their owner only. SecurityError, with nothing written: one of them exists, unless
    `overwrite`; a name or a domain cannot be. OSError: it cannot be written.
    """
    if "" in domains:
        raise SecurityError("a domain's name is empty: --domain needs the id of a domain")
    contents = {directory / name: pem for name, pem in make_certificates(names, domains).items()}
    for file in (directory / MASTER_FILE, *(domain_file(directory, domain) for domain in domains)):
        contents[file] = f"{secrets.token_hex(TOKEN_BYTES)}\n".encode()
    present = [str(file.relative_to(directory)) for file in contents if file.exists()]
    if present and not overwrite:
        raise SecurityError(
            f"{directory} has {', '.join(present)} already: choose another directory, or replace them with --force, "
            "after which every client needs the new ones"
        )
    for file, content in contents.items():
        _make_private_directory(file.parent)
        _write_private(file, content)
    return list(contents)


def _make_private_directory(directory: Path) -> None:
    if not directory.exists():
        _make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _write_private(file: Path, content: bytes) -> None:
    """Replaces a present file at once, so that nobody reads half of one."""
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    partial.replace(file)
