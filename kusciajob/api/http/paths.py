"""Finds what is at a path: a table of paths in which variables stand for parts between slashes."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TypeAlias, TypeVar

from aiohttp import web

from kusciajob.api.http.messages import Refused
from kusciajob.api.http.parameters import BrokenText, decode
from kusciajob.api.routes import Route, variables_in
from kusciajob.model.errors import InvalidJob, Problem
from kusciajob.usecases.callers import Caller

Handler: TypeAlias = Callable[[web.BaseRequest, Caller], Awaitable[web.StreamResponse]]
Found: TypeAlias = tuple[Mapping[str, Route], dict[str, str]]
"""The routes at a path by their HTTP method, and the values of its variables."""

_At = TypeVar("_At")


class PathTable:
    """Routes by their paths. Where several fit, the one with the fewest variables counts."""

    def __init__(self, routes: Iterable[Route]) -> None:
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {}).update(dict.fromkeys(route.http_methods, route))
        self._fixed = {path: at for path, at in by_path.items() if not variables_in(path)}
        self._variable = [(_pattern(path), at) for path, at in by_path.items() if variables_in(path)]

    def find(self, path: str) -> Found | None:
        """What is at a path as it was sent. Raises InvalidJob where a value in it is no text."""
        if fixed := self._fixed.get(path):
            return fixed, {}
        for pattern, at in self._variable:
            if found := pattern.fullmatch(path):
                return at, {name: _decoded(name, value) for name, value in found.groupdict().items()}
        return None


def find_method(path: str, methods: Mapping[str, _At], method: str) -> _At | Handler:
    """What serves the method, or OPTIONS, at a path. Raises Refused for any other."""
    # What is sent of an answer to HEAD is its head, by aiohttp.
    at = methods.get("GET" if method == "HEAD" else method)
    if at is not None:
        return at
    allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else ()), "OPTIONS"])
    if method == "OPTIONS":
        return partial(_tell_methods, allowed)
    raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {allowed} only", headers={"Allow": allowed})


async def _tell_methods(allowed: str, _: web.BaseRequest, __: Caller) -> web.StreamResponse:
    return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Allow": allowed})


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{([a-z0-9_]+)\}", path)  # fixed and variable in turn
    texts = [f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)]
    return re.compile("".join(texts))


def _decoded(name: str, value: str) -> str:
    try:
        return decode(value)
    except BrokenText as error:
        raise InvalidJob(f"{name} in the path: {error}", problems=[Problem(name, str(error))]) from None
