"""The fields of an AppImage document that have no effect on this server, so that they can be told."""

from collections.abc import Iterator, Mapping
from typing import Any

from kusciajob.model.text import bare

# What is read, and what says nothing about how a program runs where there are no images to pull.
_SPEC = frozenset({"deployTemplates", "configTemplates", "image"})
_TEMPLATE = frozenset({"name", "role", "replicas", "spec"})
_POD = frozenset({"containers", "restartPolicy"})
_CONTAINER = frozenset(
    {"name", "command", "args", "workingDir", "env", "ports", "configVolumeMounts", "image", "imagePullPolicy"}
)
_ENV = frozenset({"name", "value"})
_PORT = frozenset({"name", "port", "protocol", "scope"})
_MOUNT = frozenset({"mountPath", "subPath"})
_LISTED_FIELDS = 20


def without_effect(document: Any) -> str:
    """The names of such fields, in the order in which they appear; "" for none. Anything may be in the document."""
    names = list(dict.fromkeys(_fields(document)))
    more = f" and {len(names) - _LISTED_FIELDS} more" if len(names) > _LISTED_FIELDS else ""
    return ", ".join(map(bare, names[:_LISTED_FIELDS])) + more


def _fields(document: Any) -> Iterator[str]:
    spec = _mapping(document, "spec")
    yield from _others(spec, _SPEC)
    for template in _list(spec, "deployTemplates"):
        yield from _others(template, _TEMPLATE)
        pod = _mapping(template, "spec")
        yield from _others(pod, _POD)
        if pod.get("restartPolicy") == "Always":
            yield "restartPolicy Always"
        for container in _list(pod, "containers"):
            yield from _others(container, _CONTAINER)
            for field, known in (("env", _ENV), ("ports", _PORT), ("configVolumeMounts", _MOUNT)):
                for entry in _list(container, field):
                    yield from (f"{field}.{name}" for name in _others(entry, known))


def _others(mapping: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    return (name for name, value in mapping.items() if name not in known and value not in (None, {}, [], ""))


def _mapping(parent: Any, field: str) -> Mapping[str, Any]:
    value = parent.get(field) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def _list(parent: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    value = parent.get(field)
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else iter(())
