"""Names that would like to leave their place: refused, or a job that runs inside its own directory."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.runtime.directories import directory_name
from tests.fuzz.budget import examples
from tests.fuzz.edge import Edge
from tests.fuzz.strategies import NASTY
from tests.support.images import write_image
from tests.support.polling import eventually_true
from tests.support.requests import ENDED

pytestmark = pytest.mark.hostile

JOBS = "/kuscia.proto.api.v1alpha1.kusciaapi.JobService"
MARK = "mark"
DOMAINS = [
    *NASTY,
    "x" * 1_000_000,
    "\u00e9" * 253,
    "\U0001f600" * 253,
    "a" * 252 + "\U0001f600",
    "~",
    "~root",
    "-rf",
    "x/../../y",
    ".",
]
_numbers = count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def edge(place: Path) -> Iterator[Edge]:
    write_image(place / "images", "mark", ["/bin/sh", "-c", f'pwd >> "$KUSCIAJOB_DOMAIN_DIR/{MARK}"'])
    with Edge(place, runtime="process", app_image_dir=place / "images", domains_dir=place / "domains") as edge:
        yield edge


def tree(place: Path) -> set[Path]:
    """Whatever there is beside the data and the domains' directories."""
    others = [path for path in place.iterdir() if path.name not in ("data", "domains")]
    return {path for other in others for path in (other, *other.rglob("*"))}


def run(edge: Edge, request: pb.CreateJobRequest) -> pb.JobStatusDetail | None:
    """The status when it has ended; None when it was refused."""
    created = edge.call(f"{JOBS}/CreateJob", request, pb.CreateJobResponse)
    if created.status.code:
        assert created.status.code == 11100, created.status
        return None

    async def status() -> pb.JobStatusDetail | None:
        _, answers = await edge.ask(f"{JOBS}/QueryJob", pb.QueryJobRequest(job_id=request.job_id).SerializeToString())
        detail = pb.QueryJobResponse.FromString(answers[0]).data.status
        return detail if detail.state in ENDED else None

    return edge.run(eventually_true(status))


def job(**fields: object) -> pb.CreateJobRequest:
    request = pb.CreateJobRequest(
        job_id=f"job-{next(_numbers)}",
        initiator="alice",
        tasks=[pb.Task(alias="a", app_image="mark", parties=[pb.Party(domain_id="alice")])],
    )
    for name, value in fields.items():
        owner = next(
            m for m in (request, request.tasks[0], request.tasks[0].parties[0]) if name in m.DESCRIPTOR.fields_by_name
        )
        setattr(owner, name, value)
    return request


@pytest.mark.parametrize("number", range(len(DOMAINS)))
def test_a_domain_works_in_its_own_directory_or_is_refused(edge: Edge, place: Path, number: int) -> None:
    domain, before = DOMAINS[number], tree(place)
    mark = place / "domains" / directory_name(domain) / MARK
    runs = len(mark.read_text().splitlines()) if domain and len(domain) < 254 and mark.exists() else 0
    status = run(edge, job(domain_id=domain))
    assert tree(place) == before
    if status is None:
        assert not domain or len(domain) > 63 or not domain.isprintable()
    else:
        assert status.state == "Succeeded", status
        assert [entry.name for entry in mark.parent.iterdir()] == [MARK]
        places = mark.read_text().splitlines()
        assert len(places) == runs + 1
        assert Path(places[-1]).is_relative_to(place / "data" / "runs")
    edge.check()


@pytest.mark.parametrize("field", ["job_id", "initiator", "alias", "app_image", "task_id", "role", "task_input_config"])
@pytest.mark.parametrize("number", range(0, len(NASTY), 2))
def test_no_other_name_leaves_its_place(edge: Edge, place: Path, field: str, number: int) -> None:
    before = tree(place)
    domains = {path.name for path in (place / "domains").glob("*")} | {"alice"}
    request = job(**{field: NASTY[number]})
    status = run(edge, request)
    assert status is None or status.state == "Succeeded", status
    assert tree(place) == before
    assert {path.name for path in (place / "domains").glob("*")} <= domains
    if status is not None:
        edge.call(f"{JOBS}/DeleteJob", pb.DeleteJobRequest(job_id=request.job_id), pb.DeleteJobResponse)
    edge.check()


names = st.sampled_from([*range(len(DOMAINS))]).map(DOMAINS.__getitem__) | st.text(min_size=1, max_size=253)


@examples(150)
@given(one=names.filter(bool), other=names.filter(bool))
def test_directories_of_domains_are_their_own(one: str, other: str) -> None:
    first, second = directory_name(one), directory_name(other)
    assert (first == second) == (one == other)
    for name in (first, second):
        assert 0 < len(name.encode()) <= 255
        assert "/" not in name
        assert "\0" not in name
        assert name not in (".", "..")
