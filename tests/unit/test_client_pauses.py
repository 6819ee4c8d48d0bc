"""Calls while the server is away: tried again with growing pauses, of which a part is chance, within the deadline."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob.api import v1
from kusciajob.client.calling import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Calling, Pauses
from kusciajob.client.errors import JobNotFound, Unavailable
from kusciajob.client.transport import run


class Away:
    """A transport to a server that is away for so many tries; time passes only in pauses."""

    address = "nowhere:0"

    def __init__(self, tries: int = 1_000_000) -> None:
        self.now = 1000.0
        self.left = tries
        self.deadlines: list[float] = []

    async def unary(self, method: Any, request: Any, *, timeout: float) -> Any:
        self.deadlines.append(self.now + timeout)
        self.left -= 1
        if self.left >= 0:
            raise Unavailable(self.address, "away")
        return v1.GetServerInfoResponse()

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    transport = Away()
    monkeypatch.setattr("kusciajob.client.calling.time.monotonic", lambda: transport.now)
    return transport


def test_pauses_double_up_to_a_limit_and_a_part_is_chance() -> None:
    one, other = ([pauses.next() for _ in range(10)] for pauses in (Pauses(), Pauses()))
    longest = [min(FIRST_PAUSE_SECONDS * 2**tries, LONGEST_PAUSE_SECONDS) for tries in range(10)]
    for told in (one, other):
        assert all(limit / 2 <= pause <= limit for pause, limit in zip(told, longest, strict=True))
    assert one != other


@given(seconds=st.floats(0, 600), own=st.floats(0.001, 600))
def test_a_call_is_tried_within_the_deadline_and_not_longer(seconds: float, own: float) -> None:
    transport = Away()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kusciajob.client.calling.time.monotonic", lambda: transport.now)
        calls = Calling(transport, own)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            run(calls.ask("any", v1.GetServerInfoRequest(), timeout=seconds))
    end = 1000.0 + min(seconds, own)
    assert transport.now <= end
    assert transport.now >= end - LONGEST_PAUSE_SECONDS
    assert all(deadline == pytest.approx(end) for deadline in transport.deadlines)


def test_it_is_tried_until_the_server_is_back(away: Away) -> None:
    away.left = 8
    assert run(Calling(away, 3600).ask("any", v1.GetServerInfoRequest())) == v1.GetServerInfoResponse()  # type: ignore[arg-type]
    assert len(away.deadlines) == 9


@pytest.mark.parametrize("is_patient", [True, False])
def test_what_must_not_be_repeated_is_tried_once(away: Away, is_patient: bool) -> None:
    calls = Calling(away, 3600, is_patient=is_patient)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        run(calls.ask("any", v1.GetServerInfoRequest(), is_repeatable=not is_patient))
    assert len(away.deadlines) == 1


def test_an_error_tells_whether_an_earlier_try_may_have_taken_effect(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(method: Any, request: Any, *, timeout: float) -> Any:
        if away.left:
            away.left -= 1
            raise Unavailable(away.address, "away")
        raise JobNotFound(0, "gone")

    monkeypatch.setattr(away, "unary", refuse)
    for tries in (0, 1):
        away.left = tries
        with pytest.raises(JobNotFound) as caught:
            run(Calling(away, 3600).ask("any", v1.GetServerInfoRequest()))  # type: ignore[arg-type]
        assert caught.value.was_lost is bool(tries)
