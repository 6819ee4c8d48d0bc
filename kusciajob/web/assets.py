"""The files of the page, read for the first request: each with its type and a compressed form.

What the HTML refers to is below a path that names the content of all files. So browsers may keep those for ever, and
never mix the modules of two versions.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from msgspec import Struct

INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_REFERENCE = re.compile(rb'(?<=["])(page|vendor)/')
"""In the HTML: a file of this package. Modules refer to each other by relative paths."""


class Asset(Struct, frozen=True):
    """A file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes
    """By gzip."""


class Assets(Struct, frozen=True):
    """All of them: the HTML, and the others by the path below the page's own."""

    index: Asset
    others: Mapping[str, Asset]
    version: str
    """The digest of all contents, in the paths of the others."""


@cache
def load() -> Assets:
    """Read the files, for the first caller."""
    root = files(__package__)
    found = dict(sorted(_files_below(root, "")))
    digest = hashlib.sha256()
    for path, body in found.items():
        digest.update(b"%d %s %d\n" % (len(path), path.encode(), len(body)) + body)
    version = digest.hexdigest()[:16]
    index = _REFERENCE.sub(rb"%s/\1/" % version.encode(), found.pop(INDEX))
    others = {f"{version}/{path}": _asset(path, body) for path, body in found.items()}
    return Assets(_asset(INDEX, index), others, version)


def _files_below(directory: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in directory.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            found += _files_below(entry, f"{path}/")
        elif _suffix(entry.name) in _TYPES:
            found.append((path, entry.read_bytes()))
    return found


def _asset(path: str, body: bytes) -> Asset:
    return Asset(_TYPES[_suffix(path)], body, gzip.compress(body, mtime=0))


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
