"""The pool of ports, on real sockets."""

import socket
from collections.abc import Iterator

import pytest

from kusciajob.contracts import NoCapacity
from kusciajob.runtime.process.ports import PortPool
from tests.support.ports import free_range

COUNT = 6


@pytest.fixture
def ports() -> range:
    return free_range(COUNT)


@pytest.fixture
def taken_port(ports: range) -> Iterator[int]:
    """One in the middle of the range, on which another program listens."""
    with socket.socket() as other:
        other.bind(("", ports[2]))
        other.listen()
        yield ports[2]


def test_a_port_given_back_is_the_last_to_be_given_again(ports: range) -> None:
    pool = PortPool(ports)
    given = []
    for _ in range(2 * COUNT):
        ((port,),) = pool.take([1])
        given.append(port)
        pool.release([port])
    assert sorted(given[:COUNT]) == list(ports)
    assert given[COUNT:] == given[:COUNT]


def test_each_party_has_ports_of_its_own(ports: range) -> None:
    pool = PortPool(ports)
    given = pool.take([2, 0, 3])
    assert [len(own) for own in given] == [2, 0, 3]
    (others,) = pool.take([1])
    assert sorted([*given[0], *given[2], *others]) == list(ports)


def test_a_task_gets_all_its_ports_or_none(ports: range) -> None:
    pool = PortPool(ports)
    pool.take([COUNT - 2])
    with pytest.raises(NoCapacity) as refusal:
        pool.take([1, 2])
    assert str(refusal.value) == (
        f"waiting for a free port: all of {ports[0]} to {ports[-1]} are in use (settings first_port, last_port)"
    )
    assert len(pool.take([1, 1])) == 2


def test_a_port_that_another_program_uses_is_left_out(ports: range, taken_port: int) -> None:
    pool = PortPool(ports)
    assert taken_port not in pool.take([COUNT - 1])[0]
    with pytest.raises(NoCapacity):
        pool.take([1])


def test_ports_that_a_party_has_from_before_are_not_given_to_another(ports: range) -> None:
    pool = PortPool(ports)
    pool.reserve(ports[:2])
    assert sorted(pool.take([COUNT - 2])[0]) == list(ports[2:])
    pool.release(ports[:2])
    assert sorted(pool.take([2])[0]) == list(ports[:2])


def test_servers_on_one_machine_begin_in_different_places(ports: range, monkeypatch: pytest.MonkeyPatch) -> None:
    firsts = set()
    for pid in range(1000, 1000 + COUNT):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        firsts |= set(PortPool(ports).take([1])[0])
    assert len(firsts) == COUNT
