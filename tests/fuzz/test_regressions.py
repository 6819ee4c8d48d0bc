"""What fuzzing has found once."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from kusciajob import config
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.config import SettingsError
from kusciajob.contracts import StartFailed
from kusciajob.model import graph, rules
from kusciajob.model.errors import InvalidJob, JobNotFound, TaskNotFound
from kusciajob.runtime.directories import directory_name
from kusciajob.runtime.scripts import read_script
from tests.fuzz.edge import Edge
from tests.support.callers import GRPC_OPERATIONS

LONG = "x" * (1 << 20)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


def test_an_unknown_id_is_not_repeated_in_full() -> None:
    assert len(str(JobNotFound(LONG))) < 200
    assert len(str(JobNotFound(LONG, LONG))) < 400
    assert len(str(TaskNotFound(LONG))) < 200
    assert str(JobNotFound("a", "b\n")) == "jobs \"a\", 'b\\n' not found"


@pytest.mark.parametrize("dependencies", [[LONG], ["other"], ["next" + LONG]])
def test_an_alias_is_not_repeated_in_full(dependencies: list[str]) -> None:
    with pytest.raises(InvalidJob) as refused:
        rules.require(graph.problems([(LONG, dependencies), ("next" + LONG, [LONG])]))
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("operation", [name for name in GRPC_OPERATIONS if "kuscia" in name and "NoSuch" not in name])
def test_bytes_that_are_no_message_are_an_invalid_argument(edge: Edge, operation: str) -> None:
    assert edge.call_bytes(operation, b"\xff\xff") == (grpc.StatusCode.INVALID_ARGUMENT, [])
    edge.check()


def test_a_body_that_does_not_unpack_leaves_no_stack_trace_in_the_log(edge: Edge) -> None:
    body = pb.StopJobRequest(job_id="a", reason="b" * 400).SerializeToString()
    for encoding in ("gzip", "deflate"):
        answer = edge.http("POST", "/api/v1/job/stop", body, {"Content-Encoding": encoding})
        assert answer.status == 400
    edge.check()


def test_a_deeply_nested_script_fails_its_task_only() -> None:
    with pytest.raises(StartFailed, match="nested too deeply"):
        read_script('{"a":' * 100_000)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("deep.yaml", "[" * 100_000, "nested deeper"),
        ("deep.toml", "path = " + "[" * 100_000, "cannot be read"),
        ("bomb.yaml", "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(f"k{n}: [*a,*a]\n" for n in range(50_000)), "values"),
        ("keys.yaml", "{1: a, null: b}", "a key must be text"),
        ("false.yaml", "cert_dir: false", "setting cert_dir is False: it must be a text"),
        ("number.toml", "app_image_dir = 5", "setting app_image_dir is 5: it must be a text"),
        ("choice.yaml", f"log_level: {LONG}", "setting log_level is .*: it must be one of debug, info, warning, error"),
        ("home.yaml", "data_dir: ~nobody-of-this-name/x", "data_dir"),
        ("nul.yaml", 'data_dir: "a\\0b"', "data_dir"),
        ("long.yaml", "grpc_port: " + "9" * 100_000, "grpc_port"),
        ("long.toml", "grpc_port = " + "9" * 100_000, "cannot be read"),
        ("unknown.yaml", LONG[:500] + ": 1", "unknown setting"),
    ],
)
def test_a_hostile_configuration_file_is_refused_in_few_words(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(SettingsError, match=words) as refused:
        config.load({}, environment={}, file=file)
    assert len(str(refused.value)) < 2000


def test_a_domain_of_253_letters_of_four_bytes_has_a_directory_of_its_own(tmp_path: Path) -> None:
    domains = ["\U0001f600" * 253, "\U0001f600" * 252 + "\U0001f601"]
    for domain in domains:
        (tmp_path / directory_name(domain)).mkdir()
    assert len(list(tmp_path.iterdir())) == 2
