"""Reads the file of the domains' own values: `<domain>: {values: {<name>: <value>}}`, in YAML or JSON."""

import logging
import re
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kusciajob.files.stamps import Stamp, stamp_of
from kusciajob.files.yaml import InvalidYaml, read_documents
from kusciajob.model.errors import JobError
from kusciajob.model.text import CONTROL, shown

MAX_DOMAINS = 10_000
MAX_VALUES = 256
MAX_VALUE_CHARACTERS = 1024 * 1024
MAX_DOMAIN_CHARACTERS = 253
_NAME = re.compile(r"[A-Za-z_][-A-Za-z0-9_]{0,252}")
_FIELDS = ("values",)

logger = logging.getLogger(__name__)


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
        self._values: Mapping[str, Mapping[str, str]] = {}
        if self._stamp is not None or is_required:
            self._values = self._load()

    def values(self, domain: str) -> Mapping[str, str]:
        """The values for the domain's config templates, by name. A list or mapping is JSON."""
        with self._reading:
            self._read_again()
            return self._values.get(domain, {})

    def _read_again(self) -> None:
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._values = self._load() if stamp is not None else {}
        except InvalidDomains as error:
            logger.error("values of domains stay as they were: %s", error)
        else:
            logger.info("read %s again: values of %d domains", self._path, len(self._values))
            if stamp and stamp[0] & stat.S_IROTH:  # at the start, run_as looks at that
                logger.warning("%s holds secrets and can be read by others: chmod o-r takes that from them", self._path)

    def _read_stamp(self) -> Stamp | None:
        try:
            return stamp_of(self._path)
        except FileNotFoundError:
            return None
        except OSError:
            return ()

    def _load(self) -> Mapping[str, Mapping[str, str]]:
        try:
            return read_domains(read_documents(self._path))
        except (InvalidYaml, InvalidDomains) as error:
            raise InvalidDomains(f"domains file {self._path}: {error}") from None


def read_domains(documents: list[Any]) -> dict[str, dict[str, str]]:
    """The values by domain and name. Raises InvalidDomains, which names the place."""
    if len(documents) > 1:
        raise InvalidDomains(f"it has {len(documents)} documents: one is possible")
    content = documents[0] if documents else {}
    if not isinstance(content, dict):
        raise InvalidDomains("it is no mapping: expected `<domain>: {values: {<name>: <value>}}`")
    if len(content) > MAX_DOMAINS:
        raise InvalidDomains(f"it has {len(content)} domains: at most {MAX_DOMAINS} are possible")
    return {domain: _read_domain(domain, settings) for domain, settings in content.items()}


def _read_domain(domain: str, settings: Any) -> dict[str, str]:
    if not 0 < len(domain) <= MAX_DOMAIN_CHARACTERS or CONTROL.search(domain):
        raise InvalidDomains(f"{shown(domain)} is no id of a domain")
    if not isinstance(settings, dict):
        raise InvalidDomains(f"{shown(domain)} is no mapping: expected {{values: {{<name>: <value>}}}}")
    for field in settings:
        if field not in _FIELDS:
            raise InvalidDomains(f"{shown(domain)}: unknown setting {shown(field)}; known: {', '.join(_FIELDS)}")
    values = settings.get("values") or {}
    if not isinstance(values, dict):
        raise InvalidDomains(f"{shown(domain)}.values is no mapping: expected {{<name>: <value>}}")
    if len(values) > MAX_VALUES:
        raise InvalidDomains(f"{shown(domain)}.values has {len(values)} entries: at most {MAX_VALUES} are possible")
    return {name: _read_value(domain, name, value) for name, value in values.items()}


def _read_value(domain: str, name: str, value: Any) -> str:
    place = f"{shown(domain)}.values.{shown(name)}"
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
