"""Reads the file of the domains' own settings, in YAML or JSON: `<domain>: {values: {<name>: <value>}, namespace: …}`.

What stands under `*` holds for every domain; a domain's own settings override it, values one by one.
"""

import logging
import re
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kusciajob.files.stamps import Stamp, stamp_of
from kusciajob.files.yaml import InvalidYaml, read_documents
from kusciajob.model.errors import JobError
from kusciajob.model.text import CONTROL, shown

MAX_DOMAINS = 10_000
MAX_VALUES = 256
MAX_VALUE_CHARACTERS = 1024 * 1024
MAX_DOMAIN_CHARACTERS = 253
_NAME = re.compile(r"[A-Za-z_][-A-Za-z0-9_]{0,252}")
EVERY_DOMAIN = "*"
MAX_ENTRIES = 64
MAX_TEXT_CHARACTERS = 1024
POD_FIELDS = (
    "labels",
    "annotations",
    "affinity",
    "tolerations",
    "runtimeClassName",
    "schedulerName",
    "priorityClassName",
)

logger = logging.getLogger(__name__)


class DomainSettings(Struct, frozen=True):
    """What the operator has set for one domain.

    `values`: for its config templates; they are secret. `data_volume`: where its own data is: a directory for
    containers, a PersistentVolumeClaim for pods; "" is the runtime's own place. `node_selector`, `pull_secrets`,
    `namespace` ("" = by the server's template) and `pod` (fields of a pod, see POD_FIELDS) count on Kubernetes only.
    `network_policy`: whether its programs are kept from all but their task.
    """

    domain_id: str = ""
    values: Mapping[str, str] = {}
    data_volume: str = ""
    node_selector: Mapping[str, str] = {}
    pull_secrets: tuple[str, ...] = ()
    namespace: str = ""
    network_policy: bool = True
    pod: Mapping[str, Any] = {}


_Reader = Callable[[str, Any], Any]
"""Takes the place and what stands there."""
_FIELDS = tuple(name for name in DomainSettings.__struct_fields__ if name != "domain_id")


class InvalidDomains(JobError):
    """The file cannot be read, or its content is not allowed. The text shows no value."""


class DomainsFile:
    """The file's present content. A changed file is read again; while it is broken, the last good content counts.

    Values are secrets: no text of this module shows one.
    """

    def __init__(self, path: Path, *, is_required: bool = False) -> None:
        """Raises InvalidDomains if the file cannot be used, or is missing and required."""
        self._path = path
        self._reading = threading.Lock()
        """Parties start on several threads: none may have the former values while another reads the new ones."""
        self._stamp = self._read_stamp()
        self._settings: Mapping[str, Mapping[str, Any]] = {}
        if self._stamp is not None or is_required:
            self._settings = self._load()

    def settings(self, domain: str) -> DomainSettings:
        """The settings of a domain. A value that is a list or a mapping is JSON."""
        with self._reading:
            self._read_again()
            for_all = self._settings.get(EVERY_DOMAIN, {})
            own = self._settings.get(domain, {}) if domain != EVERY_DOMAIN else {}
        values = {**for_all.get("values", {}), **own.get("values", {})}
        return DomainSettings(**{**for_all, **own, "values": values, "domain_id": domain})

    def values(self, domain: str) -> Mapping[str, str]:
        """The values for the domain's config templates, by name."""
        return self.settings(domain).values

    def _read_again(self) -> None:
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._settings = self._load() if stamp is not None else {}
        except InvalidDomains as error:
            logger.error("settings of domains stay as they were: %s", error)
        else:
            logger.info("read %s again: settings of %d domains", self._path, len(self._settings))
            if stamp and stamp[0] & stat.S_IROTH:  # at the start, run_as looks at that
                logger.warning("%s holds secrets and can be read by others: chmod o-r takes that from them", self._path)

    def _read_stamp(self) -> Stamp | None:
        try:
            return stamp_of(self._path)
        except FileNotFoundError:
            return None
        except OSError:
            return ()

    def _load(self) -> Mapping[str, Mapping[str, Any]]:
        try:
            return read_domains(read_documents(self._path))
        except (InvalidYaml, InvalidDomains) as error:
            raise InvalidDomains(f"domains file {self._path}: {error}") from None


def read_domains(documents: list[Any]) -> dict[str, dict[str, Any]]:
    """The settings that each domain has of its own, by their names. Raises InvalidDomains, which names the place."""
    if len(documents) > 1:
        raise InvalidDomains(f"it has {len(documents)} documents: one is possible")
    content = documents[0] if documents else {}
    if not isinstance(content, dict):
        raise InvalidDomains("it is no mapping: expected `<domain>: {values: {<name>: <value>}}`")
    if len(content) > MAX_DOMAINS:
        raise InvalidDomains(f"it has {len(content)} domains: at most {MAX_DOMAINS} are possible")
    return {domain: _read_domain(domain, settings) for domain, settings in content.items()}


def _read_domain(domain: str, settings: Any) -> dict[str, Any]:
    if not 0 < len(domain) <= MAX_DOMAIN_CHARACTERS or CONTROL.search(domain):
        raise InvalidDomains(f"{shown(domain)} is no id of a domain")
    if not isinstance(settings, dict):
        raise InvalidDomains(f"{shown(domain)} is no mapping: expected {{values: {{<name>: <value>}}}}")
    read = {}
    for field, content in settings.items():
        if field not in _FIELDS:
            raise InvalidDomains(f"{shown(domain)}: unknown setting {shown(field)}; known: {', '.join(_FIELDS)}")
        if content is not None:
            reader: _Reader = _READERS.get(field, _read_text)
            read[field] = reader(f"{shown(domain)}.{field}", content)
    return read


def _read_values(place: str, values: Any) -> dict[str, str]:
    if not isinstance(values, dict):
        raise InvalidDomains(f"{place} is no mapping: expected {{<name>: <value>}}")
    if len(values) > MAX_VALUES:
        raise InvalidDomains(f"{place} has {len(values)} entries: at most {MAX_VALUES} are possible")
    return {name: _read_value(f"{place}.{shown(name)}", name, value) for name, value in values.items()}


def _read_value(place: str, name: str, value: Any) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidDomains(
            f"{place}: the name is not valid: letters, digits, '-' and '_', not beginning with a digit or '-'"
        )
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) > MAX_VALUE_CHARACTERS:
        raise InvalidDomains(f"{place} has {len(text)} characters: at most {MAX_VALUE_CHARACTERS} are possible")
    return text


def _read_text(place: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS or CONTROL.search(value):
        raise InvalidDomains(f"{place} is no text of at most {MAX_TEXT_CHARACTERS} characters without control ones")
    return value


def _read_flag(place: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidDomains(f"{place} must be true or false")
    return value


def _read_texts(place: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_ENTRIES:
        raise InvalidDomains(f"{place} is no mapping of at most {MAX_ENTRIES} texts: expected {{<name>: <text>}}")
    return {_read_text(place, name): _read_text(f"{place}.{shown(name)}", text) for name, text in value.items()}


def _read_names(place: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise InvalidDomains(f"{place} is no list of at most {MAX_ENTRIES} names")
    return tuple(_read_text(f"{place}[{at}]", name) for at, name in enumerate(value))


def _read_pod(place: str, value: Any) -> dict[str, Any]:
    """Fields that Kubernetes checks itself."""
    if not isinstance(value, dict):
        raise InvalidDomains(f"{place} is no mapping: expected {{<field of a pod>: <value>}}")
    for field in value:
        if field not in POD_FIELDS:
            raise InvalidDomains(f"{place}: unknown field {shown(field)}; known: {', '.join(POD_FIELDS)}")
    if len(msgspec.json.encode(value)) > MAX_VALUE_CHARACTERS:
        raise InvalidDomains(f"{place} has more than {MAX_VALUE_CHARACTERS} characters")
    return value


_READERS: Mapping[str, _Reader] = {
    "values": _read_values,
    "node_selector": _read_texts,
    "pull_secrets": _read_names,
    "network_policy": _read_flag,
    "pod": _read_pod,
}
"""All others are texts."""
