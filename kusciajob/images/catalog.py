"""The AppImages that tasks can name: a directory of YAML and JSON files in Kuscia's CRD form, and those of the API."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kusciajob.files.stamps import Stamp
from kusciajob.images.definition import Definition, define, restore
from kusciajob.images.fields import log_without_effect
from kusciajob.images.files import LISTED_PROBLEMS, ImageFile, load, name_of, stamp, why_ignored
from kusciajob.model.appimage import AppImage
from kusciajob.model.errors import InvalidAppImage, JobError, UnknownAppImage
from kusciajob.model.text import first, shown

_LISTED_NAMES = 20
_LISTED_CHARACTERS = 1000

_log = logging.getLogger(__name__)


class NoAppImageDirectory(JobError):
    """The configured directory of AppImages cannot be read."""


class AppImageCatalog:
    """AppImages by name. New, changed and removed files count at the next lookup of a name that they declare.

    A broken file or document hides nothing but itself. A name that a file declares is the file's, also where its
    document is refused: an AppImage of that name from the API is hidden as long as the file is there.
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
        self._files: dict[Path, ImageFile] = {}
        self._found: dict[str, tuple[Path, Definition]] = {}
        self._refused: dict[str, str] = {}
        self._created: dict[str, Definition | None] = {}
        """Those of the API; None: what is stored cannot be used."""
        self._unusable: dict[str, str] = {}
        self._hidden: frozenset[str] = frozenset()
        self._scan()

    def get(self, name: str) -> AppImage:
        """The AppImage of that name. Raises UnknownAppImage, with the names that exist or why this one is refused."""
        return self.definition(name).image

    def definition(self, name: str) -> Definition:
        """The same, as it was written."""
        if not self._is_current(name):
            self._scan()
        found = self._in_force(name)
        if found is None:
            raise UnknownAppImage(self._explain(name))
        return found

    def names(self) -> tuple[str, ...]:
        """The names of all usable AppImages, sorted."""
        return tuple(sorted(self.definitions()))

    def definitions(self) -> Mapping[str, Definition]:
        """All usable AppImages by name, as the files are now."""
        self._scan()
        created = {name: made for name, made in self._created.items() if made is not None and name not in self._hidden}
        return created | {name: found for name, (_, found) in self._found.items()}

    def file_of(self, name: str) -> str:
        """The file, or files, that declare the name now, even if it is refused; "" for none."""
        self._scan()
        return self._files_of(name)

    @property
    def created(self) -> Mapping[str, Definition | None]:
        """The AppImages of the API by name, also hidden ones; None for one whose record cannot be used."""
        return self._created

    @property
    def hidden(self) -> Mapping[str, str]:
        """The AppImages of the API that files hide, each with those files."""
        return {name: self._files_of(name) for name in sorted(self._hidden)}

    @property
    def unusable(self) -> Mapping[str, str]:
        """The AppImages of the API whose record cannot be used, each with the reason."""
        return self._unusable

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Take in the AppImages of the API as they are stored, instead of those that it knows.

        One that cannot be used is logged and told.
        """
        self._created = {}
        self._unusable = {}
        for name, data in stored.items():
            try:
                self._created[name] = restore(name, data)
            except InvalidAppImage as error:
                _log.error("the stored AppImage %s is refused: %s", shown(name), error)
                self._created[name] = None
                self._unusable[name] = f"it was created through the API, and {error}"
        self._index()

    def define(self, name: str, spec: dict[str, Any]) -> Definition:
        """What `put` takes; fields without effect are logged, as of files. Raises InvalidAppImage. It may take long."""
        definition = define(name, spec)
        log_without_effect({"spec": spec}, f"AppImage {name} (API)", runs_images=self._runs_images)
        return definition

    def put(self, definition: Definition) -> None:
        """An AppImage of the API is in force from now on, in place of an earlier one."""
        name = definition.image.name
        self._created[name] = definition
        self._unusable.pop(name, None)
        self._index()

    def remove(self, name: str) -> None:
        """An AppImage of the API is gone."""
        del self._created[name]
        self._unusable.pop(name, None)
        self._index()

    def _files_of(self, name: str) -> str:
        return " and ".join(name_of(path) for path, file in self._files.items() if _declares(file, name))

    def _in_force(self, name: str) -> Definition | None:
        if name in self._found:
            return self._found[name][1]
        return None if name in self._hidden else self._created.get(name)

    def _is_current(self, name: str) -> bool:
        if self._directory is None:
            return True
        if self._stamp != stamp(self._directory):
            return False
        if name not in self._found:
            return name in self._created and name not in self._hidden
        path, _ = self._found[name]
        return self._files[path].stamp == stamp(path)

    def _scan(self) -> None:
        if self._directory is None:
            return
        # The stamp is taken before the listing: a change in between shows at the next lookup.
        self._stamp = stamp(self._directory)
        files = {}
        ignored = []
        for path in self._list(self._directory):
            found = stamp(path)
            if reason := why_ignored(path, found):
                ignored.append(f"{name_of(path)}: {reason}")
            elif found is not None:
                known = self._files.get(path)
                is_current = known is not None and known.stamp == found
                files[path] = known if known and is_current else load(path, found, runs_images=self._runs_images)
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
        declared: dict[str, list[tuple[Path, Definition]]] = {}
        refused: dict[str, str] = {}
        for path, file in self._files.items():
            refused |= file.refused
            for definition in file.images:
                declared.setdefault(definition.image.name, []).append((path, definition))
        for name, places in declared.items():
            if len(places) > 1:
                files = " and ".join(name_of(path) for path, _ in places)
                refused[name] = f"it is declared in {files}: a name must be unique"
                if refused[name] != self._refused.get(name):
                    _log.warning("AppImage %s is refused: %s", shown(name), refused[name])
        self._found = {name: places[0] for name, places in declared.items() if name not in refused}
        self._refused = refused
        self._hide(frozenset(name for name in self._created if name in declared or name in refused))

    def _hide(self, hidden: frozenset[str]) -> None:
        """Log what files begin to hide, and what they hide no longer."""
        for name in sorted(hidden - self._hidden):
            text = "AppImage %s was created through the API and is hidden now: %s declares that name"
            _log.warning(text, shown(name), self._files_of(name))
        for name in sorted(self._hidden - hidden):
            if name in self._created:
                _log.warning("AppImage %s of the API is in force again: no file declares it", shown(name))
        self._hidden = hidden

    def _explain(self, name: str) -> str:
        if reason := self._refused.get(name) or self._unusable.get(name):
            return f"AppImage {shown(name)} is refused: {reason}"
        known = sorted(name for name in {*self._found, *self._created} if self._in_force(name) is not None)
        if self._directory is None and not known:
            return f"AppImage {shown(name)} is unknown: this server has no AppImage directory"
        text = f"AppImage {shown(name)} is unknown; there are: {first(known, _LISTED_NAMES) or 'none'}"
        problems = [f"{name_of(path)}: {file.problem}" for path, file in self._files.items() if file.problem]
        if problems:
            text += f" (not readable: {_some(problems)})"
        of_other_kind = [f"{name_of(path)}: {note}" for path, file in self._files.items() for note in file.ignored]
        if ignored := [*of_other_kind, *self._ignored]:
            text += f" (ignored: {_some(ignored)})"
        if self._complaint:
            text += f" (the AppImage directory cannot be read: {self._complaint})"
        return text


def _declares(file: ImageFile, name: str) -> bool:
    return name in file.refused or any(definition.image.name == name for definition in file.images)


def _why_unreadable(directory: Path) -> str:
    try:
        next(directory.iterdir(), None)
    except OSError as error:
        return str(error.strerror)
    return ""


def _some(notes: list[str]) -> str:
    """The first few names, in a bounded text."""
    text = "; ".join(notes[:LISTED_PROBLEMS])
    if len(text) > _LISTED_CHARACTERS:
        text = f"{text[:_LISTED_CHARACTERS]}…"
    return text + (f" and {len(notes) - LISTED_PROBLEMS} more" if len(notes) > LISTED_PROBLEMS else "")
