"""What the states of a workload's containers mean together, and what an engine is asked to make."""

import io
import tarfile

import pytest
from msgspec.structs import replace

from kusciajob.contracts import Node, PartyKey, StartFailed
from kusciajob.runtime.container import bodies, files, states
from kusciajob.runtime.container.labels import Place
from kusciajob.runtime.container.quantities import NANO, whole
from kusciajob.runtime.container.states import Seen
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted.engine import Limits, Phase, Program, Ref, Sighting, Workload

REF = Ref("kj-1", "kj", PartyKey(1, 0, 0, 0), 0, "alice")
NODE = Node("here", "127.0.0.1")
NOW = 1000.0
RAN = Seen("a", Place(REF, 0, 1, "main", "64Mi", 0), "exited", 1, started_at=900.0, ended_at=990.0)


def sighted(*containers: Seen, ordered: tuple[str, ...] = (), guesses_oom: bool = False) -> Sighting:
    verdict = states.judge(REF, containers, node=NODE, now=NOW, ordered=ordered, guesses_oom=guesses_oom)
    return verdict.sighting


def of_two(index: int, **changes: object) -> Seen:
    return replace(RAN, id="ab"[index], place=Place(REF, index, 2, ("main", "side")[index], "", 0), **changes)


def test_what_was_killed_by_its_limit_says_so() -> None:
    assert sighted(replace(RAN, exit_code=137, is_oom=True)).text == "killed: memory limit 64Mi"


def test_an_engine_that_does_not_tell_lets_it_be_guessed_unless_somebody_asked_for_the_end() -> None:
    killed = replace(RAN, exit_code=137)
    assert sighted(killed, guesses_oom=True).text.startswith("killed: memory limit 64Mi (most likely")
    assert sighted(killed, guesses_oom=True, ordered=("a",)).text == ""
    assert sighted(killed).text == ""


def test_what_a_restarted_machine_has_forgotten_is_gone_and_not_new() -> None:
    """Podman shows it as created."""
    assert sighted(replace(RAN, status="created", ended_at=None)).phase is Phase.GONE
    assert sighted(replace(RAN, status="created", started_at=None, ended_at=None)).phase is Phase.WAITING


def test_a_failed_program_that_the_engine_starts_again_has_not_ended() -> None:
    failing = replace(RAN, place=Place(REF, 0, 1, "main", "", 2), restarts=1)
    assert sighted(failing).phase is Phase.RUNNING
    assert sighted(failing, ordered=("a",)).phase is Phase.ENDED
    assert sighted(replace(failing, restarts=2)).phase is Phase.ENDED
    assert sighted(replace(failing, ended_at=NOW - 100)).phase is Phase.ENDED  # no engine waits that long


def test_a_workload_ends_with_its_first_failure_once_nothing_runs() -> None:
    main, side = of_two(0, status="running", exit_code=0), of_two(1, exit_code=5)
    verdict = states.judge(REF, [main, side], node=NODE, now=NOW, ordered=(), guesses_oom=False)
    assert (verdict.sighting.phase, verdict.to_end) == (Phase.RUNNING, ("a",))
    ended = sighted(of_two(0, exit_code=137, ended_at=995.0), side, ordered=("a",))
    assert (ended.phase, ended.exit_code, ended.text) == (Phase.ENDED, 5, "container side: exit code 5")


def test_a_workload_succeeds_once_all_have() -> None:
    main, side = of_two(0, exit_code=0), of_two(1, exit_code=0)
    assert sighted(main, replace(side, status="running")).phase is Phase.RUNNING
    assert (sighted(main, side).phase, sighted(main, side).exit_code) == (Phase.ENDED, 0)
    never = replace(side, status="created", started_at=None, ended_at=None)
    assert sighted(main, never).phase is Phase.ENDED  # the first is over, and with it the network of the other


@pytest.mark.parametrize(
    ("quantity", "unit", "amount"),
    [("500m", NANO, NANO // 2), ("64Mi", 1, 64 << 20), ("1e3", 1, 1000), ("1E", 1, 10**18), ("", 1, 0), ("100n", 1, 1)],
)
def test_quantities_are_as_in_kubernetes(quantity: str, unit: int, amount: int) -> None:
    assert whole(quantity, unit) == amount


def test_times_of_engines_are_read() -> None:
    assert states.seconds_of("0001-01-01T00:00:00Z") is None
    assert states.seconds_of("1970-01-01T00:00:01.5Z") == 1.5
    assert states.seconds_of("1970-01-01T01:00:00.123456789+01:00") == pytest.approx(0.123456789)


def made(program: Program, **around: object) -> dict[str, object]:
    workload = Workload(REF, "store", "task-1", DomainSettings("alice"), (program,))
    place = bodies.Surroundings("kj", "10.0.0.1", "/data/alice", 99, {"Type": "local"}, **around)  # type: ignore[arg-type]
    return bodies.body(workload, 0, place)


def test_nothing_but_a_privileged_program_keeps_a_capability() -> None:
    config = made(Program("main", "image"))["HostConfig"]
    assert isinstance(config, dict)
    assert (config["CapDrop"], config["SecurityOpt"], config.get("Privileged")) == (
        ["ALL"],
        ["no-new-privileges"],
        None,
    )
    assert config["Binds"] == ["/data/alice:/kuscia/domain:rw"]
    privileged = made(Program("main", "image", is_privileged=True))["HostConfig"]
    assert isinstance(privileged, dict)
    assert privileged["Privileged"]


def test_what_is_not_stated_is_the_images_own() -> None:
    own = made(Program("main", "image"))
    assert not {"Entrypoint", "Cmd", "WorkingDir", "User"} & set(own)
    stated = made(Program("main", "image", command=("a",), args=("b",), working_dir="/w"), user="7")
    assert (stated["Entrypoint"], stated["Cmd"], stated["WorkingDir"], stated["User"]) == (["a"], ["b"], "/w", "7")


def test_a_memory_limit_that_no_engine_takes_is_refused() -> None:
    with pytest.raises(StartFailed, match="memory limit 1Mi: engines need at least 6Mi"):
        made(Program("main", "image", limits=Limits(memory="1Mi")))


def test_an_archive_of_files_ends_with_its_last_block() -> None:
    """Podman stops reading there, and fails where more is sent."""
    packed = files.pack(["/etc/app"], {"/etc/app/config": b"{}"}, {"/key": b"secret"}, files.User(7, 8))
    assert len(packed) == (1 + 2 + 2 + files.END_BLOCKS) * tarfile.BLOCKSIZE
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        key = archive.getmember("key")
        assert (key.uid, key.gid, key.mode) == (7, 8, 0o400)
        assert archive.getmember("etc/app/config").mode == 0o444
