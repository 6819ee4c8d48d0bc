"""Texts that list or repeat are cut, and statuses fit into a message whatever they hold."""

import pytest
from msgspec.structs import replace

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.model import limits, transitions
from kusciajob.model.appimage import AppImage, Container, DeployTemplate, Port
from kusciajob.model.errors import InvalidJob, JobNotFound
from kusciajob.model.job import JobSpec, Party, Task
from kusciajob.model.moves import PartyEvent
from kusciajob.model.status import Endpoint, Job
from kusciajob.model.text import cut, listed
from kusciajob.model.transitions import PartyMove
from kusciajob.wire.job_status import encode_status
from tests.support import steps
from tests.support.builders import NOW, job_spec, new_job, task


def test_a_list_names_some_and_counts_the_others() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    names = [f"n{number}" for number in range(117)]
    assert listed(names) == ", ".join(names[:20]) + ", … and 97 more"
    assert listed(["x" * 5000, "y", "z"], "; ") == "x" * 5000 + "; … and 2 more"


def test_what_is_cut_says_so_and_is_cut_no_further() -> None:
    assert cut("abc", 3) == "abc"
    text = cut("x" * 100_000, 4096)
    assert len(text) == 4096
    assert text.endswith("x… (cut, it had 100,000 characters)")
    assert cut(text, 4096) == text
    assert [len(cut("x" * 99, limit)) for limit in (0, 5, 50)] == [0, 5, 50]


def test_errors_name_some_of_many() -> None:
    assert str(JobNotFound(*[f"j{number}" for number in range(1000)])).endswith('"j19", … and 980 more not found')
    ring = [task(f"t{number}", dependencies=[f"t{(number + 1) % 100}"]) for number in range(100)]
    with pytest.raises(InvalidJob, match=r"^dependencies form a cycle: t.* -> … and 81 more$"):
        job_spec(tasks=ring)


def wide_job(parties: int = 128, tasks: int = 128) -> Job:
    members = tuple(Party(f"domain-{number}") for number in range(parties))
    return new_job(job_spec(tasks=[Task(f"t{number}", "app", members) for number in range(tasks)], max_parallelism=128))


def failed(job: Job, message: str) -> Job:
    """All parties have failed, with addresses and long texts."""
    endpoints = [(Endpoint("http", "Cluster", "HTTP", "127.0.0.1:20000"),)] * len(job.status.tasks[0].parties)
    moves = [PartyMove(index, PartyEvent.FAILED, message, "d" * 9000) for index in range(len(endpoints))]
    for index in range(len(job.status.tasks)):
        job = transitions.place(transitions.admit(job, index, now=NOW), index, endpoints, now=NOW)
        job = transitions.move_parties(job, index, moves, now=NOW)
    return transitions.settle(job, NOW)


def test_a_status_is_told_within_its_limit_whatever_failed() -> None:
    job = failed(wide_job(), "m" * 5000)
    encoded = encode_status(job.status)
    assert len(encoded) <= limits.MAX_STATUS_BYTES
    detail = pb.JobStatusDetail.FromString(encoded)
    assert [len(entry.parties) for entry in detail.tasks] == [128] * 128
    assert detail.tasks[127].parties[127].domain_id == "domain-127"
    assert "more" in detail.err_msg or "cut" in detail.err_msg
    smaller = pb.JobStatusDetail.FromString(encode_status(failed(wide_job(parties=2), "exit code 1").status))
    assert smaller.tasks[0].parties[0].endpoints  # these can stay: texts go first


def test_a_stored_status_of_any_size_is_told_cut() -> None:
    names = tuple(Party("ü" * 253, f"role-{number}") for number in range(20_000))
    spec = JobSpec("old", "alice", tuple(Task(f"{number}-" + "x" * 100_000, "app", names) for number in range(3)))
    job = new_job(spec)
    encoded = encode_status(replace(job.status, message="m" * 30_000_000))
    assert len(encoded) <= limits.MAX_STATUS_BYTES
    assert [entry.alias[:2] for entry in pb.JobStatusDetail.FromString(encoded).tasks] == ["0-", "1-", "2-"]


def test_names_and_ports_must_leave_room_for_the_status() -> None:
    limits.check_status_size(wide_job().spec, [0] * 128)
    with pytest.raises(InvalidJob, match="16,384 parties of 128 domains, with their names and up to 3 addresses each"):
        limits.check_status_size(wide_job().spec, [3] * 128)


def test_the_addresses_of_all_replicas_count_and_those_of_local_ports_do_not() -> None:
    ports = (Port("peer", scope="Cluster"), Port("other", scope="Domain"), Port("own"), Port("metrics"))
    container = Container("main", command=("true",), ports=ports)
    image = AppImage("a", (DeployTemplate("one", (container,)), DeployTemplate("many", (container,), replicas=64)))
    assert image.most_endpoints == 128
    with pytest.raises(InvalidJob, match="with their names and up to 128 addresses each"):
        limits.check_status_size(wide_job(parties=2).spec, [image.most_endpoints] * 128)


def test_what_a_party_is_told_is_cut_where_it_is_told() -> None:
    job = steps.start(new_job())
    job = transitions.move_parties(job, 0, [PartyMove(0, PartyEvent.FAILED, "m" * 10_000, "d" * 10_000)], now=NOW)
    party = job.status.tasks[0].parties[0]
    assert (len(party.message), len(party.detail)) == (1024, 4096)
    assert len(transitions.explain(new_job(), 0, "w" * 10_000).status.tasks[0].message) == 1024
