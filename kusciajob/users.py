"""The system users that programs run as, so that programs cannot read the server's files."""

import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from urllib.parse import unquote

from msgspec import Struct

MAX_ID = 2**32 - 2  # one more means "no change" to the system


class User(Struct, frozen=True):
    """A user and his first group."""

    name: str
    uid: int
    gid: int


class UserError(Exception):
    """A user cannot be used; the text names it and says what would be right."""


class Users(Struct, frozen=True):
    """Who runs the programs of each domain."""

    by_domain: Mapping[str, User]
    default: User | None = None

    def of(self, domain_id: str) -> User | None:
        """The domain's user, else the one for all others."""
        return self.by_domain.get(domain_id, self.default)

    @property
    def all(self) -> list[User]:
        named = [*self.by_domain.values(), *([self.default] if self.default else [])]
        return [user for index, user in enumerate(named) if user not in named[:index]]


def parse(text: str) -> Users | None:
    """`USER` for all domains, `DOMAIN=USER` for one, several with commas between; None for an empty text. UserError."""
    if not text.strip():
        return None
    by_domain: dict[str, User] = {}
    default: User | None = None
    for entry in text.split(","):
        domain, equals, name = (part.strip() for part in entry.rpartition("="))
        user = find(name)
        if (equals and not domain) or domain in by_domain or (not equals and default):
            raise UserError(f"{entry.strip()!r} is no user for one domain, or for all: USER or DOMAIN=USER, each once")
        if equals:
            by_domain[domain] = user
        else:
            default = user
    return Users(by_domain, default)


def find(name: str) -> User:
    """The user of that name, or of that number, which needs no name. UserError: there is none, or it is root."""
    try:
        found = pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
    except (KeyError, ValueError, OverflowError):
        if not _is_number(name) or int(name) > MAX_ID:
            raise UserError(f"{name!r} is no user of this machine: name one that `id -u` knows, or a number") from None
        user = User(name, int(name), int(name))
    else:
        user = User(found.pw_name, found.pw_uid, found.pw_gid)
    if user.uid == 0:
        raise UserError(f"{name!r} is root, whose programs can read everything: name another user")
    return user


def check(users: Users, *, passages: Sequence[Path], secrets: Sequence[Path], domains: Path) -> None:
    """Raise UserError if a user cannot reach his own files, or can read what is not his.

    Not his are secrets, and the directory that another user's domain has in `domains`.
    """
    present = [(entry, users.of(unquote(entry.name))) for entry in domains.iterdir()]
    for user in users.all:
        if directory := _first(user, '! test -x "$path"', passages):
            raise UserError(
                f"user {user.name} cannot enter {directory}, below which his programs work: let others pass there and "
                "in all directories above it, e.g. with chmod o+x"
            )
        others = [path for path, owner in present if owner not in (user, None)]
        readable = 'test -r "$path" || { test -d "$path" && test -x "$path"; }'
        if path := _first(user, readable, [*secrets, *others]):
            raise UserError(f"user {user.name} can read {path}: take that from others, e.g. with chmod o-rx")


def _first(user: User, condition: str, paths: Sequence[Path]) -> str:
    """The first of the paths of which that is true for a process of that user: modes are not all that decides."""
    script = f'for path do if {condition}; then printf %s "$path"; exit; fi; done'
    command = ["/bin/sh", "-c", script, "sh", *(str(path.absolute()) for path in paths)]
    tried = run(
        command, user=user.uid, group=user.gid, extra_groups=[], cwd="/", stdin=DEVNULL, stdout=PIPE, check=True
    )
    return tried.stdout.decode(errors="replace")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()
