"""Reads the AppImages of one file. A broken document hides nothing but itself."""

import os
import stat
from collections.abc import Iterator, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

from msgspec import Struct

from kusciajob.files.stamps import Stamp, stamp_of
from kusciajob.files.yaml import InvalidYaml, read_documents
from kusciajob.images.definition import KIND, Definition
from kusciajob.images.document import from_document
from kusciajob.images.fields import log_without_effect
from kusciajob.model.errors import InvalidAppImage
from kusciajob.model.text import bare, shown

LISTED_PROBLEMS = 3

_API_GROUP = "kuscia.secretflow/"
_LIST_KINDS = ("List", f"{KIND}List")
_SUFFIXES = (".yaml", ".yml", ".json")
_MAX_KEPT_NOTES = 20
_MAX_LIST_DEPTH = 8

_log = getLogger(__name__)


class ImageFile(Struct, frozen=True):
    """What one file declares.

    `refused`: why an AppImage is refused, by its name. `problem`: a fault without a name. `ignored`: what is no
    AppImage.
    """

    stamp: Stamp
    images: tuple[Definition, ...] = ()
    refused: Mapping[str, str] = {}
    problem: str = ""
    ignored: tuple[str, ...] = ()


def load(path: Path, stamp: Stamp, *, runs_images: bool) -> ImageFile:
    """Read the file, and log what is wrong with it. For `runs_images` see AppImageCatalog."""
    try:
        documents = read_documents(path)
    except InvalidYaml as error:
        _log.warning("AppImage file %s is not loaded: %s", path, error)
        return ImageFile(stamp, problem=str(error))
    images: list[Definition] = []
    refused: dict[str, str] = {}
    problems: list[str] = []
    ignored: list[str] = []
    for place, document in _flattened(documents):
        try:
            if kind := _other_kind(document):
                _log.info("AppImage file %s: %s is of another kind and ignored", path, place)
                ignored.append(f"{place} is {kind}")
                continue
            image = from_document(document)
            images.append(Definition(image, name_of(path), written=document))
            log_without_effect(document, f"AppImage {image.name} ({name_of(path)})", runs_images=runs_images)
        except InvalidAppImage as error:
            _log.warning("AppImage file %s: %s is refused: %s", path, place, error)
            name = _declared_name(document)
            if name:
                refused[name] = f"{name_of(path)}: {error}"
            else:
                problems.append(f"{place}: {error}")
    problem = "; ".join(problems[:LISTED_PROBLEMS])
    return ImageFile(stamp, tuple(images), refused, problem, tuple(ignored[:_MAX_KEPT_NOTES]))


def stamp(path: Path) -> Stamp | None:
    """The file's stamp; None where there is nothing."""
    try:
        return stamp_of(path)
    except OSError:
        return None


def why_ignored(path: Path, found: Stamp | None) -> str:
    """Why a file of the directory is not read; "" when it is."""
    if path.name.startswith("."):
        return 'its name begins with "."'
    if found is None:
        return "it leads nowhere"
    if stat.S_ISDIR(found[0]):
        return "a directory"
    if not stat.S_ISREG(found[0]):
        return "no regular file"
    return "" if path.suffix.lower() in _SUFFIXES else f"its name ends in none of {', '.join(_SUFFIXES)}"


def name_of(path: Path) -> str:
    """The file's name for a text; what is not UTF-8 in it is replaced."""
    return bare(os.fsencode(path.name).decode(errors="replace"))


def _flattened(documents: list[Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Each document with its place; a list is split into its items."""
    for number, document in enumerate(documents, start=1):
        here = f"{place}, item {number}" if place else f"document {number}"
        items = document.get("items") if isinstance(document, dict) and document.get("kind") in _LIST_KINDS else None
        if isinstance(items, list) and depth < _MAX_LIST_DEPTH:
            # Items of a typed list need no kind of their own: kubectl and client libraries leave it out.
            if document["kind"] == f"{KIND}List":
                own = {"apiVersion": document.get("apiVersion"), "kind": KIND}
                items = [own | item if isinstance(item, dict) else item for item in items]
            yield from _flattened(items, here, depth + 1)
        else:
            yield here, document


def _other_kind(document: object) -> str:
    """What the document is when it does not mean to be an AppImage; InvalidAppImage when it is one of another group."""
    if not isinstance(document, dict):
        return "no mapping"
    kind = document.get("kind")
    if kind != KIND:
        return f"a {bare(kind)}" if isinstance(kind, str) and kind else "without kind"
    version = document.get("apiVersion")
    if not isinstance(version, str) or not version.startswith(_API_GROUP):
        raise InvalidAppImage(f'apiVersion is {shown(str(version))}: it must be "{_API_GROUP}v1alpha1"')
    return ""


def _declared_name(document: object) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
