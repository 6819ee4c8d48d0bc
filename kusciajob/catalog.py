"""The AppImages that the operator registered: a directory of YAML files in Kuscia's CRD form."""

import logging
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from kusciajob.model.appimage import AppImage
from kusciajob.model.appimage_document import from_document
from kusciajob.model.errors import InvalidAppImage, UnknownAppImage
from kusciajob.model.text import shown
from kusciajob.yamlfile import InvalidYaml, parse_documents, read_text

_API_GROUP = "kuscia.secretflow/"
_SUFFIXES = (".yaml", ".yml")
_LISTED_NAMES = 20
_LISTED_FILES = 3

_log = logging.getLogger(__name__)

# Type, identity, size and times of a file: another stamp means that it must be read again.
Stamp = tuple[int, ...]


class _File(Struct, frozen=True):
    """What one file declares; `refused` has the reason by name, `problem` what belongs to no name."""

    stamp: Stamp
    images: tuple[AppImage, ...] = ()
    refused: Mapping[str, str] = {}
    problem: str = ""


class AppImageCatalog:
    """AppImages by name. New, changed and removed files count at the next lookup of a name that they declare.

    A broken file or document hides nothing but itself. Without a directory there are no AppImages.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._stamp: Stamp | None = None
        self._files: dict[Path, _File] = {}
        self._found: dict[str, tuple[Path, AppImage]] = {}
        self._refused: dict[str, str] = {}
        self._scan()

    def get(self, name: str) -> AppImage:
        """The AppImage of that name; raises UnknownAppImage with the names that exist or why this one is refused."""
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
        # Stamped before it is listed: what changes in between shows at the next lookup.
        self._stamp = _stamp(self._directory)
        files = {}
        for path in _list(self._directory):
            stamp = _stamp(path)
            if stamp is not None and stat.S_ISREG(stamp[0]):
                known = self._files.get(path)
                files[path] = known if known is not None and known.stamp == stamp else _load(path, stamp)
        self._files = files
        self._index()

    def _index(self) -> None:
        declared: dict[str, list[tuple[Path, AppImage]]] = {}
        refused: dict[str, str] = {}
        for path, file in self._files.items():
            refused |= file.refused
            for image in file.images:
                declared.setdefault(image.name, []).append((path, image))
        for name, places in declared.items():
            if len(places) > 1:
                files = " and ".join(path.name for path, _ in places)
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
        text = f"AppImage {shown(name)} is unknown; there are: {_listed(sorted(self._found))}"
        problems = [f"{path.name}: {file.problem}" for path, file in self._files.items() if file.problem]
        if problems:
            more = f" and {len(problems) - _LISTED_FILES} more" if len(problems) > _LISTED_FILES else ""
            text += f" (not readable: {'; '.join(problems[:_LISTED_FILES])}{more})"
        return text


def _list(directory: Path) -> list[Path]:
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        _log.warning("AppImage directory %s cannot be read: %s", directory, error.strerror)
        return []
    return [path for path in paths if path.suffix in _SUFFIXES and not path.name.startswith(".")]


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _load(path: Path, stamp: Stamp) -> _File:
    try:
        documents = parse_documents(read_text(path))
    except InvalidYaml as error:
        _log.warning("AppImage file %s is not loaded: %s", path, error)
        return _File(stamp, problem=str(error))
    images: list[AppImage] = []
    refused: dict[str, str] = {}
    problems: list[str] = []
    for number, document in enumerate(documents, start=1):
        try:
            if _is_app_image(document):
                images.append(from_document(document))
            else:
                _log.info("AppImage file %s: document %d is of another kind and ignored", path, number)
        except InvalidAppImage as error:
            _log.warning("AppImage file %s: document %d is refused: %s", path, number, error)
            name = _declared_name(document)
            if name:
                refused[name] = f"{path.name}: {error}"
            else:
                problems.append(f"document {number}: {error}")
    return _File(stamp, tuple(images), refused, "; ".join(problems[:_LISTED_FILES]))


def _is_app_image(document: object) -> bool:
    """Whether the document means to be an AppImage; raises InvalidAppImage when it does so in another API group."""
    if not isinstance(document, dict) or document.get("kind") != "AppImage":
        return False
    version = document.get("apiVersion")
    if not isinstance(version, str) or not version.startswith(_API_GROUP):
        raise InvalidAppImage(f'apiVersion is {shown(str(version))}: it must be "{_API_GROUP}v1alpha1"')
    return True


def _declared_name(document: object) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    return (", ".join(names[:_LISTED_NAMES]) or "none") + more
