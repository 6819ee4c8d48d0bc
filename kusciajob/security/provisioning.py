"""Writes everything that a protected server and its clients need."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from kusciajob.files import private as privatefile
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
        # Without a newline: there are clients that send the file as it is, and no header may hold one.
        contents[file] = secrets.token_hex(TOKEN_BYTES).encode()
    present = [str(file.relative_to(directory)) for file in contents if file.exists()]
    if present and not overwrite:
        raise SecurityError(
            f"{directory} has {', '.join(present)} already: choose another directory, or replace them with --force, "
            "after which every client needs the new ones"
        )
    for file, content in contents.items():
        _make_private_directory(file.parent)
        privatefile.write(file, content)
    return list(contents)


def _make_private_directory(directory: Path) -> None:
    if not directory.exists():
        _make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
