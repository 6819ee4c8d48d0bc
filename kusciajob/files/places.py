"""Where the values of a YAML or JSON text stand: lines and columns for the problems that are found with them later."""

import re
from collections.abc import Callable, Sequence

import yaml

from kusciajob.files.yaml import InvalidYaml, compose_documents

_FIELD = re.compile(r'\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.\[\]]+)')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

Step = str | int
"""A key, or an index from 0 on."""


def steps_of(field: str) -> list[Step]:
    """The steps of a field path such as `tasks[2].parties[0]` or `custom_fields["key"]`."""
    return [int(index) if index else quoted or name for index, quoted, name in _FIELD.findall(field)]


class Place:
    """A value in a text, with the line and column where it or its key begins, both from 1 on."""

    def __init__(self, node: yaml.Node, start: yaml.Node | None = None) -> None:
        mark = (start or node).start_mark
        self.line: int = mark.line + 1
        self.column: int = mark.column + 1
        self._node = node

    def keys(self) -> list[str]:
        """Of a mapping, else none."""
        return [str(key.value) for key, _ in self._node.value] if isinstance(self._node, yaml.MappingNode) else []

    def inner(self, step: Step, plain: Callable[[str], str] = str) -> "Place | None":
        """The value of a key, or the entry of a list, if there is one. Keys are alike that are equal once `plain`."""
        match self._node:
            case yaml.MappingNode(value=[*pairs]) if isinstance(step, str):
                for key, value in pairs:
                    if isinstance(key, yaml.ScalarNode) and plain(str(key.value)) == plain(step):
                        return Place(value, key)
            case yaml.SequenceNode(value=[*entries]) if isinstance(step, int) and step < len(entries):
                return Place(entries[step])
        return None

    def nearest(self, steps: Sequence[Step], plain: Callable[[str], str] = str) -> "Place":
        """The innermost value on that way: where the way leads on, what would be there is missing."""
        place = self
        for step in steps:
            inner = place.inner(step, plain)
            if inner is None:
                return place
            place = inner
        return place


def document_in(text: str) -> Place | None:
    """The only document of a text; None where there are several, or the text cannot be read as YAML."""
    if text.lstrip().startswith("{"):
        # JSON has tabs and halves of surrogate pairs where YAML has none: what stands for them is as long.
        text = _SURROGATE.sub(r"\\u003f", text.replace("\t", " "))
    try:
        documents = compose_documents(text)
    except InvalidYaml:
        return None
    return Place(documents[0]) if len(documents) == 1 else None
