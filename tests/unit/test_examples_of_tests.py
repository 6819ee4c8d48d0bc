"""The examples of tests stand alone: what they have of ours is ours as it is."""

from pathlib import Path

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1 import common_pb2
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2
from kusciajob._gen.kusciajob.testing.v1 import control_pb2

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples" / "testing"
COPIES = sorted((EXAMPLES / "java" / "src" / "main" / "proto").rglob("*.proto"))
MOST_LINES = 60


@pytest.mark.parametrize("copy", COPIES, ids=lambda path: path.name)
def test_the_protos_of_the_java_example_are_ours(copy: Path) -> None:
    original = TOP / "proto" / copy.relative_to(EXAMPLES / "java" / "src" / "main" / "proto")
    assert copy.read_text() == original.read_text()


@pytest.mark.parametrize(
    ("generated", "module"),
    [("v1alpha1/common", common_pb2), ("kusciaapi/job", job_pb2), ("control/control", control_pb2)],
    ids=["common", "job", "control"],
)
def test_the_stubs_of_the_go_example_know_all_messages(generated: str, module: object) -> None:
    text = (EXAMPLES / "go" / "gen" / f"{generated}.pb.go").read_text()
    descriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    for name, message in descriptor.message_types_by_name.items():
        assert f"type {name} struct {{" in text
        for field in message.fields:
            assert f"{field.json_name[0].upper()}{field.json_name[1:]}" in text


@pytest.mark.parametrize(
    "tests",
    ["python/test_manager.py", "go/manager_test.go", "java/src/test/java/example/ManagerTest.java"],
)
def test_the_tests_of_an_example_are_short(tests: str) -> None:
    assert len((EXAMPLES / tests).read_text().splitlines()) <= MOST_LINES
