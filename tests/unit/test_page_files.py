"""The page's files: all that is referred to is there, the libraries are npm's, both languages say the same."""

import hashlib
import json
import posixpath
import re
from importlib.resources import files

import pytest

from kusciajob.api.calls.v1.server import limits_in_force
from kusciajob.config import Settings
from kusciajob.web import assets

ROOT = files("kusciajob.web")
MODULES = {
    path.partition("/")[2]: asset.body.decode()
    for path, asset in assets.load().others.items()
    if path.endswith(".js") and "/page/" in path
}
MAX_WIRE_BYTES = 150_000
_IMPORT = re.compile(r"""(?:\bfrom ?|\bimport ?\(?)['"]([^'"\s]+)['"]""")
_KEY = re.compile(r"^  '([\w.]+)': '(.*)',$", re.MULTILINE)
_USED_KEY = re.compile(r"""\bt\('([\w.]+)'""")


def test_every_import_leads_to_a_file() -> None:
    version = assets.load().version
    for path, asset in assets.load().others.items():
        if not path.endswith(".js"):
            continue
        for found in _IMPORT.findall(re.sub(r"/\*.*?\*/", "", asset.body.decode(), flags=re.DOTALL)):
            assert found.startswith("."), f"{path} imports {found}: a browser needs a path"
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found))
            assert target in assets.load().others, f"{path} imports {found}"
            assert target.startswith(f"{version}/")


def test_what_the_html_refers_to_is_there_and_nothing_in_it_runs_inline() -> None:
    index = assets.load().index.body.decode()
    references = re.findall(r'(?:src|href)="([^"]+)"', index)
    assert len(references) > 3
    assert set(references) <= assets.load().others.keys()
    assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=| style=", index)


def test_the_page_is_small() -> None:
    total = sum(len(asset.compressed) for asset in (assets.load().index, *assets.load().others.values()))
    assert total < MAX_WIRE_BYTES


def test_the_libraries_are_those_of_the_list() -> None:
    vendor = ROOT / "vendor"
    listed = json.loads((vendor / "vendor.json").read_text())
    there = {entry.name for entry in vendor.iterdir() if entry.is_file()}
    assert there == {*listed["files"], "vendor.json"}
    for name, digest in listed["files"].items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, f"{name}: run make vendor"
    for package in listed["packages"]:
        assert f"LICENSE-{package.removeprefix('@').replace('/', '-')}" in listed["files"]


MADE = ("state.", "event.", "timeline.", "history.kind.", "limit.")
"""How the keys begin that views put together from what the server says."""


def texts(language: str) -> dict[str, str]:
    return dict(_KEY.findall(MODULES[f"page/{language}.js"]))


@pytest.mark.parametrize("language", ["zh"])
def test_every_language_has_every_text_with_the_same_places(language: str) -> None:
    english, other = texts("en"), texts(language)
    assert english.keys() == other.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", other[key])), key


def test_every_text_that_a_view_asks_for_exists_and_every_text_is_asked_for() -> None:
    sources = "\n".join(source for path, source in MODULES.items() if path not in ("page/en.js", "page/zh.js"))
    known = texts("en").keys()
    assert set(_USED_KEY.findall(sources)) <= known
    unused = {key for key in known if f"'{key}'" not in sources and not key.startswith(MADE)}
    assert unused == set()


def test_every_limit_of_the_server_has_a_sentence_that_says_what_it_limits() -> None:
    limits = limits_in_force(Settings(), connections=1, connections_per_peer=1)
    assert {f"limit.{name}" for name in limits} == {key for key in texts("en") if key.startswith("limit.")}
