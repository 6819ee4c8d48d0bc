"""The AppImages that the operator registered: a directory of YAML and JSON files in Kuscia's CRD form."""

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from kusciajob.files.stamps import Stamp, stamp_of
from kusciajob.files.yaml import InvalidYaml, read_documents
from kusciajob.images.document import from_document
from kusciajob.images.fields import without_effect
from kusciajob.model.appimage import AppImage
from kusciajob.model.errors import InvalidAppImage, JobError, UnknownAppImage
from kusciajob.model.text import bare, first, shown

_API_GROUP = "kuscia.secretflow/"
_KIND = "AppImage"
_LIST_KINDS = ("List", "AppImageList")
_SUFFIXES = (".yaml", ".yml", ".json")
_LISTED_NAMES = 20
_LISTED_FILES = 3
_LISTED_CHARACTERS = 1000
_MAX_KEPT_NOTES = 20
_MAX_LIST_DEPTH = 8

_log = logging.getLogger(__name__)


class _File(Struct, frozen=True):
    """What one file declares.

    `refused`: why an AppImage is refused, by its name. `problem`: a fault without a name. `ignored`: what is no
    AppImage.
    """

    stamp: Stamp
    images: tuple[AppImage, ...] = ()
    refused: Mapping[str, str] = {}
    problem: str = ""
    ignored: tuple[str, ...] = ()


class NoAppImageDirectory(JobError):
    """The configured directory of AppImages cannot be read."""


class AppImageCatalog:
    """AppImages by name. New, changed and removed files count at the next lookup of a name that they declare.

    A broken file or document hides nothing but itself. Without a directory there are no AppImages.
    """

    def __init__(self, directory: Path | None, *, is_required: bool = False, runs_images: bool = False) -> None:
        """`runs_images`: whether the runtime runs the images, not only what the AppImages' command lines say.

        Raises NoAppImageDirectory if the directory is required and cannot be read. If not, it may appear later.
        """
        if directory is not None and is_required and (reason := _why_unreadable(directory)):
            raise NoAppImageDirectory(
                f"AppImage directory {directory} cannot be read: {reason} (setting app_image_dir)"
            )
        self._directory = directory
        self._runs_images = runs_images
        self._ignored: tuple[str, ...] = ()
        self._complaint = ""
        self._was_read = False
        self._stamp: Stamp | None = None
        self._files: dict[Path, _File] = {}
        self._found: dict[str, tuple[Path, AppImage]] = {}
        self._refused: dict[str, str] = {}
        self._scan()

    def get(self, name: str) -> AppImage:
        """The AppImage of that name. Raises UnknownAppImage, with the names that exist or why this one is refused."""
        if not self._is_current(name):
            self._scan()
        if name in self._found:
            return self._found[name][1]
        raise UnknownAppImage(self._explain(name))

    def names(self) -> tuple[str, ...]:
        """The names of all usable AppImages, sorted."""
        self._scan()
        return tuple(sorted(self._found))

    def _is_current(self, name: str) -> bool:
        if self._directory is None or name not in self._found:
            return False
        path, _ = self._found[name]
        return self._stamp == _stamp(self._directory) and self._files[path].stamp == _stamp(path)

    def _scan(self) -> None:
        if self._directory is None:
            return
        # The stamp is taken before the listing: a change in between shows at the next lookup.
        self._stamp = _stamp(self._directory)
        files = {}
        ignored = []
        for path in self._list(self._directory):
            stamp = _stamp(path)
            if reason := _why_ignored(path, stamp):
                ignored.append(f"{_name(path)}: {reason}")
            elif stamp is not None:
                known = self._files.get(path)
                is_current = known is not None and known.stamp == stamp
                files[path] = known if known and is_current else _load(path, stamp, runs_images=self._runs_images)
        self._files = files
        self._ignored = tuple(ignored)
        self._index()

    def _list(self, directory: Path) -> list[Path]:
        try:
            paths = sorted(directory.iterdir())
        except OSError as error:
            # Logged once, though each unknown name leads here. A directory that was never there may come later.
            is_awaited = isinstance(error, FileNotFoundError) and not self._was_read
            if str(error.strerror) != self._complaint and not is_awaited:
                _log.warning("AppImage directory %s cannot be read: %s", directory, error.strerror)
            self._complaint = str(error.strerror)
            return []
        self._was_read = True
        self._complaint = ""
        return paths

    def _index(self) -> None:
        declared: dict[str, list[tuple[Path, AppImage]]] = {}
        refused: dict[str, str] = {}
        for path, file in self._files.items():
            refused |= file.refused
            for image in file.images:
                declared.setdefault(image.name, []).append((path, image))
        for name, places in declared.items():
            if len(places) > 1:
                files = " and ".join(_name(path) for path, _ in places)
                refused[name] = f"it is declared in {files}: a name must be unique"
                if refused[name] != self._refused.get(name):
                    _log.warning("AppImage %s is refused: %s", shown(name), refused[name])
        self._found = {name: places[0] for name, places in declared.items() if name not in refused}
        self._refused = refused

    def _explain(self, name: str) -> str:
        if name in self._refused:
            return f"AppImage {shown(name)} is refused: {self._refused[name]}"
        if self._directory is None:
            return f"AppImage {shown(name)} is unknown: this server has no AppImage directory"
        text = f"AppImage {shown(name)} is unknown; there are: {first(sorted(self._found), _LISTED_NAMES) or 'none'}"
        problems = [f"{_name(path)}: {file.problem}" for path, file in self._files.items() if file.problem]
        if problems:
            text += f" (not readable: {_some(problems)})"
        of_other_kind = [f"{_name(path)}: {note}" for path, file in self._files.items() for note in file.ignored]
        if ignored := [*of_other_kind, *self._ignored]:
            text += f" (ignored: {_some(ignored)})"
        if self._complaint:
            text += f" (the AppImage directory cannot be read: {self._complaint})"
        return text


def _why_unreadable(directory: Path) -> str:
    try:
        next(directory.iterdir(), None)
    except OSError as error:
        return str(error.strerror)
    return ""


def _why_ignored(path: Path, stamp: Stamp | None) -> str:
    """Why a file of the directory is not read; "" when it is."""
    if path.name.startswith("."):
        return 'its name begins with "."'
    if stamp is None:
        return "it leads nowhere"
    if stat.S_ISDIR(stamp[0]):
        return "a directory"
    if not stat.S_ISREG(stamp[0]):
        return "no regular file"
    return "" if path.suffix.lower() in _SUFFIXES else f"its name ends in none of {', '.join(_SUFFIXES)}"


def _load(path: Path, stamp: Stamp, *, runs_images: bool) -> _File:
    try:
        documents = read_documents(path)
    except InvalidYaml as error:
        _log.warning("AppImage file %s is not loaded: %s", path, error)
        return _File(stamp, problem=str(error))
    images: list[AppImage] = []
    refused: dict[str, str] = {}
    problems: list[str] = []
    ignored: list[str] = []
    for place, document in _flattened(documents):
        try:
            if kind := _other_kind(document):
                _log.info("AppImage file %s: %s is of another kind and ignored", path, place)
                ignored.append(f"{place} is {kind}")
                continue
            images.append(from_document(document))
            if fields := without_effect(document, runs_images=runs_images):
                # What only this runtime leaves out is no mistake in the file.
                level = logging.WARNING if without_effect(document, runs_images=True) else logging.INFO
                _log.log(
                    level,
                    "AppImage %s (%s): these fields have no effect here: %s",
                    images[-1].name,
                    _name(path),
                    fields,
                )
        except InvalidAppImage as error:
            _log.warning("AppImage file %s: %s is refused: %s", path, place, error)
            name = _declared_name(document)
            if name:
                refused[name] = f"{_name(path)}: {error}"
            else:
                problems.append(f"{place}: {error}")
    return _File(stamp, tuple(images), refused, "; ".join(problems[:_LISTED_FILES]), tuple(ignored[:_MAX_KEPT_NOTES]))


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def _flattened(documents: list[Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Each document with its place; a list is split into its items."""
    for number, document in enumerate(documents, start=1):
        here = f"{place}, item {number}" if place else f"document {number}"
        items = document.get("items") if isinstance(document, dict) and document.get("kind") in _LIST_KINDS else None
        if isinstance(items, list) and depth < _MAX_LIST_DEPTH:
            # Items of a typed list need no kind of their own: kubectl and client libraries leave it out.
            if document["kind"] == f"{_KIND}List":
                own = {"apiVersion": document.get("apiVersion"), "kind": _KIND}
                items = [own | item if isinstance(item, dict) else item for item in items]
            yield from _flattened(items, here, depth + 1)
        else:
            yield here, document


def _other_kind(document: object) -> str:
    """What the document is when it does not mean to be an AppImage; InvalidAppImage when it is one of another group."""
    if not isinstance(document, dict):
        return "no mapping"
    kind = document.get("kind")
    if kind != _KIND:
        return f"a {bare(kind)}" if isinstance(kind, str) and kind else "without kind"
    version = document.get("apiVersion")
    if not isinstance(version, str) or not version.startswith(_API_GROUP):
        raise InvalidAppImage(f'apiVersion is {shown(str(version))}: it must be "{_API_GROUP}v1alpha1"')
    return ""


def _declared_name(document: object) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _name(path: Path) -> str:
    """The file's name for a text; what is not UTF-8 in it is replaced."""
    return bare(os.fsencode(path.name).decode(errors="replace"))


def _some(notes: list[str]) -> str:
    """The first few names, in a bounded text."""
    text = "; ".join(notes[:_LISTED_FILES])
    if len(text) > _LISTED_CHARACTERS:
        text = f"{text[:_LISTED_CHARACTERS]}…"
    return text + (f" and {len(notes) - _LISTED_FILES} more" if len(notes) > _LISTED_FILES else "")
