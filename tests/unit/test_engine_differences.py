"""What Docker and Podman are asked for differs where the same words would not mean the same."""

from msgspec.structs import replace

from kusciajob.contracts import Node, PartyKey
from kusciajob.runtime.container import bodies
from kusciajob.runtime.container.files import ROOT, User
from kusciajob.runtime.container.traits import Traits
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted.engine import Program, Ref, Workload

DOCKER = Traits(Node("here", ""))
PODMAN = Traits(Node("here", ""), is_podman=True)
ROOTLESS = replace(PODMAN, is_rootless=True)


def user_namespace_of(index: int, *, joined: str = "") -> str | None:
    """That of one of two containers of a workload, of an engine without root."""
    programs = tuple(Program(name, "image") for name in ("main", "side"))
    ref = Ref("kj-1", "kj", PartyKey(1, 0, 0, 0), 0, "alice")
    workload = Workload(ref, "store-1", "task-1", DomainSettings("alice"), programs)
    around = bodies.Surroundings("kj", "", "/data", 0, {}, user_namespace=ROOTLESS.user_namespace(User(1000, 1000)))
    found: str | None = bodies.body(workload, index, around, joined=joined)["HostConfig"].get("UsernsMode")
    return found


def test_dockers_log_has_a_limit_that_it_takes_where_output_has_none() -> None:
    """It refuses -1, and would keep 100 MB if nothing was said."""
    limit = DOCKER.log_config(0)["Config"]["max-size"]
    assert int(limit.removesuffix("b")) > 1 << 40
    assert "max-size" not in PODMAN.log_config(0)["Config"]


def test_without_root_a_user_is_the_one_who_runs_podman() -> None:
    assert ROOTLESS.user_namespace(User(1000, 1001)) == "keep-id:uid=1000,gid=1001"
    assert PODMAN.user_namespace(User(1000, 1001)) == DOCKER.user_namespace(User(1000, 1001)) == ""


def test_without_root_the_containers_root_is_the_one_who_runs_podman_by_itself() -> None:
    """Podman 4.3 cannot start what is told so."""
    assert ROOTLESS.user_namespace(User(ROOT, ROOT)) == ""


def test_the_second_container_of_a_party_joins_the_user_namespace_that_the_network_belongs_to() -> None:
    assert user_namespace_of(0) == "keep-id:uid=1000,gid=1000"
    assert user_namespace_of(1, joined="c1") == "container:c1"
