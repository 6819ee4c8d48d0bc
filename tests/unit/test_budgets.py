"""What is on its way has a budget, what is open has a share of the descriptors."""

import resource

import pytest

from kusciajob.api.gate import BodyBudget, LimitReached
from kusciajob.api.grpc.descriptors import KEPT, share_descriptors
from kusciajob.config import SettingsError, load
from tests.support.limits import limited

MIB = 1 << 20


def test_a_peer_holds_no_more_than_its_part_and_gives_it_back() -> None:
    budget = BodyBudget(per_peer=10 * MIB, in_all=15 * MIB)
    with budget.hold("a") as take:
        take(6 * MIB)
        with pytest.raises(
            LimitReached, match=r"a has too much .* at most 10 MiB .*\(setting max_upload_mib_per_peer\)"
        ):
            take(6 * MIB)
        take(4 * MIB)
        with (
            budget.hold("b") as take_more,
            pytest.raises(LimitReached, match=r"at most 15 MiB .*\(setting max_upload_mib\)"),
        ):
            take_more(6 * MIB)
    with budget.hold("b") as take_more:
        take_more(10 * MIB)


def test_what_is_seen_on_the_way_counts_with_what_is_held() -> None:
    budget = BodyBudget(per_peer=10 * MIB, in_all=15 * MIB)
    with budget.hold("a") as take:
        take(8 * MIB)
        budget.check("a", 2 * MIB, others=5 * MIB)
        with pytest.raises(LimitReached, match="max_upload_mib_per_peer"):
            budget.check("a", 3 * MIB)
        with pytest.raises(LimitReached, match=r"max_upload_mib\)"):
            budget.check("b", 0, others=8 * MIB)


def test_no_budget_is_no_limit() -> None:
    with BodyBudget().hold("a") as take:
        take(1 << 40)


@pytest.mark.parametrize("descriptors", [300, 1024, 20_000])
def test_the_ports_together_leave_descriptors_and_an_address_leaves_half(descriptors: int) -> None:
    with limited(0, resource.RLIMIT_NOFILE, descriptors):
        ports, progress = share_descriptors(in_all=4096, per_peer=2048)
    assert 2 * ports.in_all + progress.in_all <= descriptors - KEPT
    assert 0 < ports.per_peer <= ports.in_all // 2 <= 2048
    assert progress.in_all > 0


def test_settings_below_the_shares_are_in_force() -> None:
    ports, _ = share_descriptors(in_all=100, per_peer=7)
    assert (ports.in_all, ports.per_peer) == (100, 7)


@pytest.mark.parametrize("name", ["max_upload_mib", "max_upload_mib_per_peer"])
def test_a_budget_that_admits_no_large_request_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} 10 is below max_message_mib 256"):
        load({name: "10"}, environment={})
    load({name: "0"}, environment={})
