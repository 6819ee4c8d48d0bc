"""Reads YAML and JSON that somebody else wrote: bounded in size, depth and expansion, refusing what is ambiguous.

Only the JSON-like core of YAML is read: strings, numbers, true/false, null, lists and mappings, with anchors and merge
keys as long as what they expand to stays small. Unlike YAML 1.1, `on`, `no`, `12:30`, `0644` and dates are strings.
"""

import json
import re
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kusciajob.model.errors import JobError
from kusciajob.model.text import shown

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

MAX_YAML_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 200_000

_TAG = "tag:yaml.org,2002:"
_Loaded = TypeVar("_Loaded")
_PLACE = re.compile(r"\bline (\d+)(?:, column (\d+))?: ")
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


class InvalidYaml(JobError):
    """The text or file cannot be read as YAML; the message has the line and column where there is one."""


def place_told(text: str) -> tuple[int, int]:
    """The line and column that the text of an InvalidYaml tells, from 1 on; 0 where it tells none."""
    found = _PLACE.search(text)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def read_text(path: Path, *, limit_bytes: int = MAX_YAML_BYTES) -> str:
    """The UTF-8 text of a file; raises InvalidYaml when it cannot be read, is longer than the limit or not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise InvalidYaml(f"it cannot be read: {error.strerror}") from None
    if len(content) > limit_bytes:
        raise InvalidYaml(f"it is larger than {limit_bytes} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidYaml(f"it is not UTF-8 text: byte {error.start} is {content[error.start]:#04x}") from None


def read_documents(path: Path) -> list[Any]:
    """The documents of a file: JSON if its name ends in .json, else YAML. Raises InvalidYaml."""
    parse = parse_json_documents if path.suffix.lower() == ".json" else parse_documents
    return parse(read_text(path))


def parse_documents(text: str) -> list[Any]:
    """The documents of a YAML text as plain dicts, lists, strings, numbers, booleans and None; empty ones are left out.

    Raises InvalidYaml on anything else, on duplicate keys, and past the limits of this module.
    """
    return _load(text, lambda: [document for document in yaml.load_all(text, Loader=_Loader) if document is not None])


def compose_documents(text: str) -> list[yaml.Node]:
    """The nodes of the same documents, which know their lines and columns. Raises InvalidYaml."""
    return _load(text, lambda: [node for node in yaml.compose_all(text, Loader=_Loader) if node is not None])


def _load(text: str, load: Callable[[], _Loaded]) -> _Loaded:
    if len(text) > MAX_YAML_BYTES:
        raise InvalidYaml(f"it is longer than {MAX_YAML_BYTES} characters")
    try:
        # The limits are checked on the flat event stream first: composing nodes recurses and constructing may expand.
        _check_limits(yaml.parse(text, Loader=_Loader))
        return load()
    except yaml.MarkedYAMLError as error:
        problem = "; ".join(part for part in (error.context, error.problem) if part)
        if "maximum nesting depth" in problem:  # libyaml has a limit of its own and reads ahead of our count
            problem = _TOO_DEEP
        raise InvalidYaml(f"{_place(error.problem_mark or error.context_mark)}{problem}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise InvalidYaml(" ".join(str(error).split())) from None


def parse_json_documents(text: str, *, limit_characters: int = MAX_YAML_BYTES) -> list[Any]:
    """The documents of a JSON text, which stand one after the other. Raises InvalidYaml."""
    if len(text) > limit_characters:
        raise InvalidYaml(f"it is longer than {limit_characters} characters")
    _check_depth(text)
    documents = []
    position = _next_sign(text, 0)
    while position < len(text):
        try:
            document, position = _json.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise InvalidYaml(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
        except ValueError as error:  # a number with more digits than Python converts
            raise InvalidYaml(f"it is no JSON: {error}") from None
        if document is not None:
            documents.append(document)
        position = _next_sign(text, position)
    if "\\ud" in text.lower():
        try:
            json.dumps(documents, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidYaml("a text in it holds half of a surrogate pair") from None
    return documents


def _next_sign(text: str, position: int) -> int:
    """The index of the first character from there on that is no white space of JSON."""
    match = _JSON_SPACE.match(text, position)
    return match.end() if match else position


def _check_depth(text: str) -> None:
    depth = 0
    for match in _JSON_NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            line = text.count("\n", 0, match.start()) + 1
            raise InvalidYaml(f"line {line}: {_TOO_DEEP}")


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise InvalidYaml(f"key {shown(repeated)} stands twice in one mapping")
    return mapping


def _refuse_constant(name: str) -> Any:
    raise InvalidYaml(f"{name} is no JSON")


_json = json.JSONDecoder(object_pairs_hook=_without_repeated_keys, parse_constant=_refuse_constant)
_JSON_SPACE = re.compile(r"[ \t\r\n]*")
# A string that nothing closes is passed over as well: it is looked at once, not from each quote in it.
# Nothing of it is taken back (*+): remembering how would take a hundred bytes a character.
_JSON_NESTING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def _check_limits(events: Iterator[Any]) -> None:
    nodes = 0
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []
    for event in events:
        match event:
            case yaml.DocumentStartEvent():
                sizes.clear()
            case yaml.CollectionEndEvent():
                anchor, before = opened.pop()
                if anchor is not None:
                    sizes[anchor] = nodes - before
            case yaml.AliasEvent():
                if any(anchor == event.anchor for anchor, _ in opened):
                    raise InvalidYaml(f"{_place(event.start_mark)}alias *{event.anchor} stands inside its own value")
                nodes += sizes.get(event.anchor or "", 1)
            case yaml.ScalarEvent() | yaml.CollectionStartEvent():
                nodes += 1
                if event.tag not in (None, "!", f"{_TAG}str"):
                    raise InvalidYaml(f"{_place(event.start_mark)}tag {event.tag} is not possible: plain values only")
                if isinstance(event, yaml.CollectionStartEvent):
                    opened.append((event.anchor, nodes - 1))
                    if len(opened) > MAX_DEPTH:
                        raise InvalidYaml(f"{_place(event.start_mark)}{_TOO_DEEP}")
        if nodes > MAX_NODES:
            raise InvalidYaml(f"{_place(event.start_mark)}more than {MAX_NODES} values, with its aliases expanded")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


class _Loader(_SafeLoader):
    """The safe loader with the scalar rules of JSON and without repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                if placeholder := _placeholder(key):
                    raise InvalidYaml(
                        f"{_place(node.start_mark)}the placeholder {shown(placeholder)} of a template has not been "
                        "replaced: a value must stand there"
                    )
                raise InvalidYaml(
                    f"{_place(key.start_mark)}a key must be text: one like 12 or true needs quotes, "
                    'and so does a value that begins with "{"'
                )
            if key.value in seen:
                raise InvalidYaml(f"{_place(key.start_mark)}key {shown(key.value)} stands twice in one mapping")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _placeholder(key: yaml.Node) -> str:
    """`{{.NAME}}` without quotes, which YAML reads as a mapping for a key; "" for anything else."""
    match key:
        case yaml.MappingNode(value=[(yaml.ScalarNode(value=str(name)), yaml.ScalarNode(value=""))]):
            return f"{{{{{name}}}}}" if name.startswith(".") else ""
    return ""


_Loader.yaml_implicit_resolvers = {}
# Lengths are bounded where converting takes more than linear time; longer digit strings stay strings.
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ("", *"~nN")),
    ("bool", r"true|True|TRUE|false|False|FALSE", (*"tTfF",)),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,18})", (*"-+0123456789",)),
    ("float", r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}\.[0-9]{0,18})(?:[eE][-+]?[0-9]{1,3})?", (*"-+0123456789.",)),
    ("merge", r"<<", ("<",)),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
