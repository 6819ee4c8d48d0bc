"""kusciajob.v1 is versioned: scripts/check_proto.sh finds what breaks its clients, and what is written otherwise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from kusciajob.api.routes import V1_ROUTES, V1_SERVICES

ROOT = Path(__file__).parents[2]
PACKAGE = Path("proto") / "kusciajob" / "v1"
RELEASED = Path("proto") / "released.binpb"


class Checkout:
    """A copy of what scripts/check_proto.sh reads and writes."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "checkout"
        for part in ("proto", "scripts"):
            shutil.copytree(ROOT / part, self.root / part, ignore=shutil.ignore_patterns("__pycache__"))
        self.run("--release")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Without a proxy, so that nothing can be fetched."""
        nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "HOME": str(self.root)}
        done = subprocess.run(
            [str(self.root / "scripts" / "check_proto.sh"), *arguments],
            env=os.environ | nowhere | {"PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def change(self, name: str, before: str, after: str) -> None:
        file = self.root / PACKAGE / name
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_present_protos_pass_and_stay_as_they_are(checkout: Checkout) -> None:
    before = {file: file.read_bytes() for file in checkout.root.rglob("*") if file.is_file()}
    assert checkout.run() == (0, "")
    assert {file: file.read_bytes() for file in checkout.root.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("server.proto", "string runtime = 2;", "int32 runtime = 2;", 'changed type from "string" to "int32"'),
        ("server.proto", "  string runtime = 2;\n", "", 'field "2" with name "runtime"'),
        ("server.proto", "string runtime = 2;", "string engine = 2;", 'changed name from "runtime" to "engine"'),
        ("jobs.proto", "TYPE_LEFT = 5;", "TYPE_GONE = 5;", "TYPE_LEFT"),
        ("jobs.proto", "returns (stream WatchJobsResponse)", "returns (WatchJobsResponse)", "changed from server"),
        ("server.proto", "string runtime = 2;", "string Runtime_Name = 2;", "lower_snake_case"),
        ("server.proto", "GetServerInfoRequest {}", "GetServerInfoRequest {} enum Kind { NONE = 0; }", "KIND_"),
    ],
    ids=["type", "removal", "name", "enum", "stream", "field-style", "enum-style"],
)
def test_what_breaks_clients_or_style_is_found_at_its_place(
    checkout: Checkout, name: str, before: str, after: str, words: str
) -> None:
    checkout.change(name, before, after)
    code, told = checkout.run()
    assert code == 1
    assert words.lower() in told.lower()
    assert f"kusciajob/v1/{name}:" in told


def test_what_is_added_passes(checkout: Checkout) -> None:
    checkout.change("server.proto", "string runtime = 2;", "string runtime = 2;\n  string site = 100;")
    assert checkout.run() == (0, "")


def released() -> dict[str, tuple[str, str]]:
    """Each RPC with the HTTP method and path that it was released with."""
    files = FileDescriptorSet.FromString((ROOT / RELEASED).read_bytes()).file
    extension: Any = annotations_pb2.http
    rules: dict[str, Any] = {
        f"{file.package}.{service.name}.{method.name}": method.options.Extensions[extension]
        for file in files
        if file.package == "kusciajob.v1"
        for service in file.service
        for method in service.method
    }
    return {name: (str(rule.WhichOneof("pattern")).upper(), rule.get or rule.post) for name, rule in rules.items()}


def test_every_released_rpc_has_its_path_still() -> None:
    present = {str(route.call.full_name): (route.http_methods[0], route.path) for route in V1_ROUTES}
    for name, place in released().items():
        assert present[name] == place, "clients and bookmarks have it: add another RPC"
    assert {name.rpartition(".")[0] for name in released()} <= {str(service.full_name) for service in V1_SERVICES}
