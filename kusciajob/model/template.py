"""Config templates: puts values in place of references. It follows Kuscia's agent.

`{{.NAME}}` becomes the value, escaped so that it fits between the quotes of a JSON (or YAML double-quoted) string.

`{{{.NAME}}}` becomes the value as it is. With a path behind the name the value is read as JSON: `.field` goes into an
object, `[2]` into a list (negative: from its end), `[key=value]` to the first object of a list whose field `key` is
`value`, and `[.OTHER.path]` goes where the index or field name found at that other place says. A string that is found
is written without quotes and without escaping; anything else is written as the JSON text that stands in the value, so
numbers keep their digits.

Blanks next to the braces are allowed. Values are never scanned for references again. A reference that finds nothing is
empty, as in Kuscia, or an error; the caller chooses. Anything else between double braces is refused rather than passed
on; names are as given or, as in Kuscia, in upper case.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

import msgspec
from msgspec import Struct

from kusciajob.model.errors import TemplateError
from kusciajob.model.text import first, shown

MAX_EXPRESSION_CHARACTERS = 1024
MAX_LOOKUP_DEPTH = 8
MAX_MISSING = 100
"""So many references that found nothing are kept of a text."""
MAX_RENDERED_CHARACTERS = 256 * 1024 * 1024
_LISTED_NAMES = 40
_PATH_SIGN = re.compile(r"[.\[\]]")


class Missing(Struct, frozen=True):
    """A reference that found nothing. The reason lists what exists."""

    expression: str
    file_name: str
    line: int
    reason: str

    @property
    def text(self) -> str:
        return f"{shown(self.expression)} in {self.file_name}, line {self.line}: {self.reason}"


class Rendered(Struct, frozen=True):
    """The rendered text, and the references that found nothing; these are empty in it."""

    text: str
    missing: tuple[Missing, ...] = ()


def render(
    text: str,
    values: Mapping[str, str],
    *,
    file_name: str = "config template",
    secrets: Collection[str] = (),
    is_strict: bool = False,
) -> Rendered:
    """The text with every reference replaced, in time linear in what is read and written.

    Raises TemplateError with the expression, the file name and the line where a reference cannot be read and, when
    `is_strict`, where one finds nothing. No error text shows the value of a name in `secrets`.
    """
    scope = _Scope(values, secrets)
    missing: list[Missing] = []
    pieces: list[str] = []
    length = position = 0
    while (start := text.find("{{", position)) >= 0:
        inside = start
        while text.startswith("{", inside):
            inside += 1
        # In a longer run of braces the inner three open the reference: `{{{{.X}}}}` is `{{{.X}}}` in literal braces.
        braces = min(inside - start, 3)
        end = text.find("}" * braces, inside, inside + MAX_EXPRESSION_CHARACTERS)
        try:
            if end < 0:
                raise _Unresolved(f'no "{"}" * braces}" closes it within {MAX_EXPRESSION_CHARACTERS} characters')
            value = scope.evaluate(text[inside:end].strip(), is_raw=braces == 3)
            length += inside - position + len(value)
            if length > MAX_RENDERED_CHARACTERS:
                raise _Unresolved(f"the file becomes longer than {MAX_RENDERED_CHARACTERS} characters")
        except _Unresolved as error:
            is_refused = is_strict or not isinstance(error, _NotFound)
            if is_refused or len(missing) < MAX_MISSING:
                expression = text[inside - braces : end + braces if end >= 0 else inside + 40]
                missing.append(Missing(expression, file_name, text.count("\n", 0, start) + 1, str(error)))
            if is_refused:
                raise TemplateError(missing[-1].text) from None
            value = ""
        pieces += (text[position : inside - braces], value)
        position = end + braces
    pieces.append(text[position:])
    return Rendered("".join(pieces), tuple(missing))


class _Unresolved(Exception):
    """An expression has no value, and why. The caller adds the place."""


class _NotFound(_Unresolved):
    """The expression is valid, but there is nothing at that place."""


class _Json:
    """A place in a JSON text. It is opened when a path first goes into it, and only once."""

    def __init__(self, raw: msgspec.Raw | bytes) -> None:
        self._raw = raw

    @cached_property
    def inside(self) -> "dict[str, _Json] | list[_Json] | None":
        """The content of an object or list; None for any other value."""
        match bytes(memoryview(self._raw)[:1]):
            case b"{":
                fields = msgspec.json.decode(self._raw, type=dict[str, msgspec.Raw])
                return {name: _Json(raw) for name, raw in fields.items()}
            case b"[":
                return [_Json(raw) for raw in msgspec.json.decode(self._raw, type=list[msgspec.Raw])]
        return None

    @cached_property
    def text(self) -> str:
        """A string without quotes and escapes, anything else as it is written in JSON."""
        if bytes(memoryview(self._raw)[:1]) == b'"':
            return msgspec.json.decode(self._raw, type=str)
        return bytes(self._raw).decode()


class _Scope:
    """The values that one rendering may refer to."""

    def __init__(self, values: Mapping[str, str], secrets: Collection[str]) -> None:
        self._values = {**{name.upper(): value for name, value in values.items()}, **values}
        self._secrets = {*secrets, *map(str.upper, secrets)}
        self._escaped: dict[str, str] = {}
        self._shows_secrets = False
        self._json: dict[str, _Json] = {}

    def evaluate(self, expression: str, *, is_raw: bool) -> str:
        if not expression.startswith("."):
            raise _Unresolved("only {{.NAME}} and {{{.NAME.path}}} are known here")
        if is_raw:
            self._shows_secrets = False
            try:
                return self._find(expression, MAX_LOOKUP_DEPTH)
            except _Unresolved as error:
                if self._shows_secrets:  # its text lists what exists, or what was looked for
                    raise type(error)("it leads nowhere in the domain's own values, which are not shown") from None
                raise
        name = expression[1:]
        if _PATH_SIGN.search(name):
            raise _Unresolved(f"a path into a value takes three braces: {{{{{{{expression}}}}}}}")
        if name not in self._escaped:
            self._escaped[name] = json.dumps(self._value(name), ensure_ascii=False)[1:-1]
        return self._escaped[name]

    def _value(self, name: str) -> str:
        if name not in self._values:
            raise _NotFound(f"there is no {shown(name)}; the names are {_listed(self._values)}")
        return self._values[name]

    def _find(self, expression: str, depth: int) -> str:
        (_, name), *steps = _steps(expression)
        value = self._value(name)
        self._shows_secrets |= name in self._secrets
        if not steps:
            return value
        try:
            if name not in self._json:
                self._json[name] = _Json(value.strip().encode())
            found = self._json[name]
            for sign, step in steps:
                if sign == "." or step.startswith("."):
                    found = _child(found, step if sign == "." else self._look_up(step, depth))
                elif "=" in step:
                    found = _first_match(found, step)
                else:
                    found = _child(found, step)
            return found.text
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _Unresolved(f"the value of {name} is not readable as JSON: {error}") from None

    def _look_up(self, expression: str, depth: int) -> str:
        if depth == 0:
            raise _Unresolved(f"look-ups are nested deeper than {MAX_LOOKUP_DEPTH}")
        return self._find(expression, depth - 1)


def _steps(path: str) -> list[tuple[str, str]]:
    """`.NAME.field[selector]` as its steps, each with the sign it begins with: "." or "["."""
    steps = []
    position = 0
    while position < len(path):
        sign = path[position]
        if sign == ".":
            following = _PATH_SIGN.search(path, position + 1)
            end = after = following.start() if following else len(path)
        elif sign == "[":
            end = _closing_bracket(path, position)
            after = end + 1
        else:
            raise _Unresolved(f'"." or "[" is expected at {shown(path[position:])}')
        step = path[position + 1 : end].strip()
        if not step:
            raise _Unresolved(f"a name is missing after {shown(path[: position + 1])}")
        steps.append((sign, step))
        position = after
    return steps


def _closing_bracket(path: str, opening: int) -> int:
    depth = 0
    for sign in _PATH_SIGN.finditer(path, opening):
        depth += {"[": 1, "]": -1}.get(sign.group(), 0)
        if depth == 0:
            return sign.start()
    raise _Unresolved(f'no "]" closes {shown(path[opening:])}')


def _child(parent: _Json, key: str) -> _Json:
    inside = parent.inside
    if isinstance(inside, dict):
        if key not in inside:
            raise _NotFound(f"there is no field {shown(key)}; the fields are {_listed(inside)}")
        return inside[key]
    if inside is None:
        raise _NotFound(f"{shown(key)} is looked for in a plain value, not in an object or list")
    if not re.fullmatch(r"-?[0-9]{1,9}", key):
        raise _NotFound(f"{shown(key)} is not an index of a list: a number or key=value is needed")
    if not -len(inside) <= int(key) < len(inside):
        raise _NotFound(f"index {key} is outside a list of {len(inside)}")
    return inside[int(key)]


def _first_match(parent: _Json, condition: str) -> _Json:
    key, _, wanted = (part.strip() for part in condition.partition("="))
    if not isinstance(parent.inside, list):
        raise _NotFound(f"[{condition}] selects from a list, and this is none")
    values = set()
    for item in parent.inside:
        fields = item.inside
        if isinstance(fields, dict) and key in fields:
            if fields[key].text == wanted:
                return item
            values.add(fields[key].text)
    raise _NotFound(f"no entry has {shown(key)} = {shown(wanted)}; the values are {_listed(values)}")


def _listed(names: Iterable[str]) -> str:
    return first(sorted(names), _LISTED_NAMES, show=shown) or "none"
