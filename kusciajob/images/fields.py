"""Finds the fields of an AppImage document that have no effect on this server, for a warning."""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kusciajob.model.text import bare, first

# The fields that are read, and those that say nothing about how a program runs without images to pull.
_SPEC = frozenset({"deployTemplates", "configTemplates", "image"})
_TEMPLATE = frozenset({"name", "role", "replicas", "spec"})
_POD = frozenset({"containers", "restartPolicy"})
_CONTAINER = frozenset(
    {"name", "command", "args", "workingDir", "env", "ports", "configVolumeMounts", "image", "imagePullPolicy"}
)
_HOSTED = frozenset({"resources", "securityContext", "livenessProbe", "readinessProbe", "startupProbe"})
"""Of a container, what engines of containers and pods enforce."""
_ENV = frozenset({"name", "value"})
_PORT = frozenset({"name", "port", "protocol", "scope"})
_MOUNT = frozenset({"mountPath", "subPath"})
_LISTED_FIELDS = 20
_PLACEHOLDER = re.compile(r"\{\{[^{}]{1,64}\}\}")

_log = logging.getLogger(__name__)


def log_without_effect(document: Any, what: str, *, runs_images: bool) -> None:
    """Log such fields of `what`. Those that only this runtime leaves out are no mistake, and no warning."""
    if fields := without_effect(document, runs_images=runs_images):
        level = logging.WARNING if without_effect(document, runs_images=True) else logging.INFO
        _log.log(level, "%s: these fields have no effect here: %s", what, fields)


def without_effect(document: Any, *, runs_images: bool = False) -> str:
    """The names of such fields, in the document's order; "" for none. The document may hold anything.

    `runs_images`: whether the runtime runs the AppImages' images.
    """
    names = list(dict.fromkeys(_fields(document, _CONTAINER | _HOSTED if runs_images else _CONTAINER)))
    return first(names, _LISTED_FIELDS, show=bare)


def _fields(document: Any, of_container: frozenset[str]) -> Iterator[str]:
    spec = _mapping(document, "spec")
    yield from _others(spec, _SPEC)
    for template in _list(spec, "deployTemplates"):
        yield from _others(template, _TEMPLATE)
        pod = _mapping(template, "spec")
        yield from _others(pod, _POD)
        if pod.get("restartPolicy") == "Always":
            yield "restartPolicy Always"
        for container in _list(pod, "containers"):
            yield from _others(container, of_container)
            yield from _placeholders(container)
            for field, known in (("env", _ENV), ("ports", _PORT), ("configVolumeMounts", _MOUNT)):
                for entry in _list(container, field):
                    yield from (f"{field}.{name}" for name in _others(entry, known))


def _placeholders(container: Mapping[str, Any]) -> Iterator[str]:
    """The `{{.X}}` that somebody should have filled in. Kuscia itself fills in config templates only."""
    texts = [(field, word) for field in ("command", "args") for word in _texts(container.get(field))]
    texts += [("env", entry["value"]) for entry in _list(container, "env") if isinstance(entry.get("value"), str)]
    return (f"{found[0]} in {field}" for field, text in texts for found in _PLACEHOLDER.finditer(text))


def _texts(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _others(mapping: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    return (name for name, value in mapping.items() if name not in known and value not in (None, {}, [], ""))


def _mapping(parent: Any, field: str) -> Mapping[str, Any]:
    value = parent.get(field) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def _list(parent: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    value = parent.get(field)
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else iter(())
