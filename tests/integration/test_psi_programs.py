"""The programs of examples/psi, run as two real processes from their own AppImages, without a server."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "psi"
ENGINE = REPOSITORY / ".engine"
EXIT_SECONDS = 20
# The engine hands its temporary directory to a shell.
HOSTILE_NAME = "tmp dir;$(exit 9)'"

pytestmark = pytest.mark.skipif(
    not (ENGINE / "bin" / "psi-intersect").exists(),
    reason="the engine is not installed: examples/psi/setup_engine.sh .engine",
)

Settings = dict[str, Any]
Rows = list[list[str]]

CONNECT_AND_DIE = {
    "psi-intersect": """
import os, sys
from pathlib import Path
from psi_example.intersect import connect, load_engine
from psi_example.task import load_task
link = connect(load_task(Path(sys.argv[1])), load_engine()[0])
os._exit(9)
""",
    "psi-group-means": """
import os, sys
from pathlib import Path
from psi_example.peer import dial
from psi_example.task import load_task
with dial(load_task(Path(sys.argv[1])), "means", wait_seconds=10):
    os._exit(9)
""",
}


@dataclass(frozen=True)
class Outcome:
    """How one party's process ended."""

    exit_code: int
    stderr: str


@dataclass
class Bench:
    """Starts parties the way a server would: rendered config, own root and TMPDIR, one domain directory each."""

    path: Path
    task_count: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def domain(self, domain_id: str) -> Path:
        """The directory of a domain's files."""
        directory = self.path / "domains" / domain_id
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def run(
        self,
        app_image: str,
        settings: Settings,
        *,
        roles: dict[str, str] | None = None,
        absent: str = "",
        dying: str = "",
    ) -> dict[str, Outcome]:
        """Run a task to its end; `absent` never starts, `dying` connects and is gone."""
        roles = roles or {"alice": "", "bob": ""}
        self.task_count += 1
        document = yaml.safe_load((EXAMPLE / "appimages" / f"{app_image}.yaml").read_text())
        containers = {domain: choose_container(document, role) for domain, role in roles.items()}
        ports = {
            domain: {port["name"]: free_port() for port in container.get("ports", [])}
            for domain, container in containers.items()
        }
        parties = [
            {
                "name": domain,
                "role": role,
                "services": [
                    {"portName": name, "endpoints": [f"127.0.0.1:{port}"]} for name, port in ports[domain].items()
                ],
            }
            for domain, role in roles.items()
        ]
        started = {}
        for index, (domain, container) in enumerate(containers.items()):
            if domain == absent:
                continue
            values = {
                "TASK_ID": f"task-{self.task_count}",
                "TASK_INPUT_CONFIG": json.dumps(settings),
                "TASK_CLUSTER_DEFINE": json.dumps({"parties": parties, "selfPartyIdx": index, "selfEndpointIdx": 0}),
                "ALLOCATED_PORTS": json.dumps(
                    {"ports": [{"name": name, "port": port} for name, port in ports[domain].items()]}
                ),
            }
            root = self.path / f"{values['TASK_ID']}-{domain}"
            work = root / container["workingDir"].lstrip("/")
            command = container["command"]
            if domain == dying:
                command = ["python", "-c", CONNECT_AND_DIE[app_image], command[-1]]
            for mount in container["configVolumeMounts"]:
                file = root / mount["mountPath"].lstrip("/")
                file.parent.mkdir(parents=True)
                file.write_text(render(document["spec"]["configTemplates"][mount["subPath"]], values))
            self.temporary(root).mkdir()
            environment = {
                "PATH": f"{ENGINE / 'bin'}:{os.environ['PATH']}",
                "TMPDIR": str(self.temporary(root)),
                "KUSCIAJOB_DOMAIN_DIR": str(self.domain(domain)),
            }
            with (root / "stdout").open("wb") as stdout, (root / "stderr").open("wb") as stderr:
                process = subprocess.Popen(
                    [ENGINE / "bin" / command[0], *command[1:]],
                    cwd=work,
                    env=environment,
                    stdout=stdout,
                    stderr=stderr,
                )
            self.processes.append(process)
            started[domain] = (process, root)
        return {
            domain: Outcome(process.wait(timeout=EXIT_SECONDS), (root / "stderr").read_text())
            for domain, (process, root) in started.items()
        }

    def temporary(self, root: Path) -> Path:
        """The TMPDIR of the party with that root."""
        return root / HOSTILE_NAME

    def write(self, domain_id: str, name: str, rows: Rows) -> None:
        """Give a domain a table; the first row is the header."""
        with (self.domain(domain_id) / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    def read(self, domain_id: str, name: str) -> Rows:
        """A table of a domain."""
        with (self.domain(domain_id) / name).open(newline="") as file:
            return list(csv.reader(file))

    def read_json(self, domain_id: str, name: str) -> Any:
        """A JSON result of a domain."""
        return json.loads((self.domain(domain_id) / name).read_text())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for process in bench.processes:
        process.kill()
        process.wait()


def choose_container(document: Any, role: str) -> Any:
    """The container of the template with that role, else of the first."""
    templates = document["spec"]["deployTemplates"]
    chosen = next((each for each in templates if each.get("role", "") == role), templates[0])
    return chosen["spec"]["containers"][0]


def render(template: str, values: dict[str, str]) -> str:
    """Put each value where its name stands, escaped to fit inside a JSON string."""
    for name, value in values.items():
        template = template.replace("{{." + name + "}}", json.dumps(value)[1:-1])
    return template


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def exit_codes(outcomes: dict[str, Outcome]) -> dict[str, int]:
    """Only the exit codes."""
    return {domain: outcome.exit_code for domain, outcome in outcomes.items()}


def verify(domain_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run the example's own check."""
    command = [sys.executable, str(EXAMPLE / "verify.py"), str(domain_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=EXIT_SECONDS, check=False)


INTERSECT: Settings = {"input": "in.csv", "key": "id"}
MEANS: Settings = {"input": "in.csv", "key": "id", "features": ["x", "y"], "label": "group", "min_group_rows": 2}
MEANS_ROLES = {"alice": "features", "bob": "labels"}


def test_the_whole_job_gives_what_the_plain_tables_say(bench: Bench) -> None:
    for domain in ("alice", "bob"):
        shutil.copytree(EXAMPLE / "data" / domain, bench.domain(domain), dirs_exist_ok=True)
    for task in json.loads((EXAMPLE / "job.json").read_text())["tasks"]:
        roles = {party["domain_id"]: party.get("role", "") for party in task["parties"]}
        outcomes = bench.run(task["app_image"], json.loads(task["task_input_config"]), roles=roles)
        assert exit_codes(outcomes) == dict.fromkeys(roles, 0), outcomes

    verified = verify(bench.path / "domains")
    assert verified.returncode == 0, verified.stdout
    assert "330 of 420 rows" in verified.stdout
    assert "205 benign, 125 malignant" in verified.stdout
    assert "| mean_radius | 12.107 | 17.685 |" in (bench.domain("alice") / "report.md").read_text()
    leftovers = [file for file in bench.path.glob(f"*/{HOSTILE_NAME}/**/*") if file.is_file()]
    assert leftovers == []

    # The check itself can fail: one row too few, then one wrong mean.
    rows = bench.read("bob", "intersection.csv")
    bench.write("bob", "intersection.csv", rows[:-1])
    assert verify(bench.path / "domains").returncode == 1
    bench.write("bob", "intersection.csv", rows)
    result = bench.read_json("bob", "group_means.json")
    result["groups"]["benign"]["means"]["mean_radius"] += 1e-9
    (bench.domain("bob") / "group_means.json").write_text(json.dumps(result))
    assert "bob: private group means" in verify(bench.path / "domains").stdout


@pytest.mark.parametrize("protocol", ["rr22", "ecdh"])
def test_both_parties_get_their_own_rows_of_the_common_keys_in_key_order(bench: Bench, protocol: str) -> None:
    quoted = ["k2", 'a, "b"\nc']
    bench.write("alice", "in.csv", [["id", "note"], ["k3", "x"], quoted, ["k1", "y"], ["k9", "z"], ["NULL", ""]])
    bench.write("bob", "in.csv", [["n", "id"], ["1", "k1"], ["2", "k2"], ["3", "k3"], ["4", "k4"], ["5", "NULL"]])

    outcomes = bench.run("psi-intersect", {**INTERSECT, "protocol": protocol, "output": "out/common.csv"})

    assert exit_codes(outcomes) == {"alice": 0, "bob": 0}, outcomes
    assert bench.read("alice", "out/common.csv") == [["id", "note"], ["NULL", ""], ["k1", "y"], quoted, ["k3", "x"]]
    assert bench.read("bob", "out/common.csv") == [["n", "id"], ["5", "NULL"], ["1", "k1"], ["2", "k2"], ["3", "k3"]]


def test_an_empty_intersection_is_a_result_and_has_no_means(bench: Bench) -> None:
    bench.write("alice", "in.csv", [["id", "x", "y"], ["a1", "1", "1"], ["a2", "2", "2"]])
    bench.write("bob", "in.csv", [["id", "group"], ["b1", "p"]])

    assert exit_codes(bench.run("psi-intersect", INTERSECT)) == {"alice": 0, "bob": 0}
    assert bench.read("alice", "intersection.csv") == [["id", "x", "y"]]
    assert bench.read("bob", "intersection.csv") == [["id", "group"]]
    assert bench.read_json("bob", "intersection.json")["common_rows"] == 0

    outcomes = bench.run("psi-group-means", {**MEANS, "input": "intersection.csv"}, roles=MEANS_ROLES)
    assert exit_codes(outcomes) == {"alice": 1, "bob": 1}
    assert "share no keys" in outcomes["bob"].stderr


@pytest.mark.parametrize(
    ("rows", "settings", "reason"),
    [
        ([["id"]], {}, "has no rows, only the header"),
        ([], {}, "no column 'id'"),
        ([["id"], ["k1"], ["k1"]], {}, "line 3: 'id' should be present and unique"),
        ([["id"], ["k1"], ["k2,k3"]], {}, "row 2: 'id' should have no comma"),
        ([["id"], ["k1\u2028"]], {}, "should have no comma, quote, control character"),
        ([["id", "x"], ["k1"]], {}, "line 2 has 1 values, should be 2"),
        ([["id"], ["k1"]], {"key": "name"}, "no column 'name'; the columns are id"),
        ([["id"], ["k1"]], {"protocol": "magic"}, "protocol 'magic' is not known"),
        ([["id"], ["k1"]], {"input": "../in.csv"}, "relative to the domain's directory"),
        ([["id"], ["k1"]], {"output": "/out.csv"}, "relative to the domain's directory"),
        ([["id"], ["k1"]], {"input": {"bob": "in.csv"}}, "'input' should be a text for 'alice'"),
        ([["id"], ["k1"]], {"input": "other.csv"}, "other.csv is not in the domain's directory"),
    ],
)
def test_bad_input_is_refused_with_the_reason_as_the_last_line(
    bench: Bench, rows: Rows, settings: Settings, reason: str
) -> None:
    bench.write("alice", "in.csv", rows)
    outcome = bench.run("psi-intersect", {**INTERSECT, **settings}, absent="bob")["alice"]
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("error: ")
    assert reason in outcome.stderr.splitlines()[-1]


def test_an_absent_peer_is_given_up_after_connect_seconds(bench: Bench) -> None:
    bench.write("alice", "in.csv", [["id"], ["k1"]])
    outcome = bench.run("psi-intersect", {**INTERSECT, "connect_seconds": 1}, absent="bob")["alice"]
    assert outcome.exit_code == 1
    assert "the intersection with bob failed: " in outcome.stderr


@pytest.mark.parametrize("app_image", ["psi-intersect", "psi-group-means"])
def test_when_one_party_dies_the_other_one_ends_with_an_error(bench: Bench, app_image: str) -> None:
    bench.write("alice", "in.csv", [["id", "x", "y"], ["k1", "1", "2"]])
    settings = {**MEANS, "connect_seconds": 5}
    outcomes = bench.run(app_image, settings, roles=MEANS_ROLES, dying="bob")
    assert outcomes["bob"].exit_code == 9
    assert outcomes["alice"].exit_code != 0
    assert not (bench.domain("alice") / "intersection.csv").exists()
    assert not (bench.domain("alice") / "group_means.json").exists()


def test_group_means_of_negative_and_fractional_values_are_exact(bench: Bench) -> None:
    bench.write("alice", "in.csv", [["id", "x", "y"], ["a", "-3", "1e-9"], ["b", "1.5", "0"], ["c", "-0.25", "7"]])
    bench.write("bob", "in.csv", [["id", "group"], ["a", "q"], ["b", "p"], ["c", "q"]])

    outcomes = bench.run("psi-group-means", {**MEANS, "min_group_rows": 1}, roles=MEANS_ROLES)

    assert exit_codes(outcomes) == {"alice": 0, "bob": 0}, outcomes
    for domain in MEANS_ROLES:
        assert bench.read_json(domain, "group_means.json")["groups"] == {
            "p": {"rows": 1, "means": {"x": 1.5, "y": 0.0}},
            "q": {"rows": 2, "means": {"x": -1.625, "y": 3.5000000005}},
        }


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([["a", "p"], ["b", "q"], ["c", "q"]], "a group has fewer than 2 rows"),
        ([["a", "p"], ["b", "p"], ["c", "p"]], "should hold two different values, it holds 1"),
        ([["a", "p"], ["b", "p"], ["d", "q"], ["e", "q"]], "do not hold the same keys"),
    ],
)
def test_a_refusal_of_the_label_party_is_told_to_the_feature_party(bench: Bench, labels: Rows, reason: str) -> None:
    bench.write("alice", "in.csv", [["id", "x", "y"], ["a", "1", "1"], ["b", "2", "2"], ["c", "3", "3"]])
    bench.write("bob", "in.csv", [["id", "group"], *labels])

    outcomes = bench.run("psi-group-means", MEANS, roles=MEANS_ROLES)

    assert exit_codes(outcomes) == {"alice": 1, "bob": 1}
    assert reason in outcomes["bob"].stderr
    assert outcomes["alice"].stderr.startswith("error: bob gave up: ")
    assert reason in outcomes["alice"].stderr


@pytest.mark.parametrize(
    "value", ["", "wide", "nan", "inf", "1e-10", "123456789.1234567890000000000001", "2e15", "1e99999999"]
)
def test_a_feature_that_is_no_exact_number_is_refused_without_showing_it(bench: Bench, value: str) -> None:
    bench.write("alice", "in.csv", [["id", "x", "y"], ["a", "1", "1"], ["b", "2", value]])
    bench.write("bob", "in.csv", [["id", "group"], ["a", "p"], ["b", "q"]])

    outcomes = bench.run("psi-group-means", {**MEANS, "min_group_rows": 1}, roles=MEANS_ROLES)

    assert exit_codes(outcomes) == {"alice": 1, "bob": 1}
    for outcome in outcomes.values():
        assert "column 'y', row 2: should be a number up to 1000000000000000 with at most 9 decimals" in outcome.stderr


def test_the_report_says_which_result_is_missing(bench: Bench) -> None:
    outcome = bench.run("psi-report", {}, roles={"alice": ""})["alice"]
    assert (outcome.exit_code, outcome.stderr.partition(" is not in")[0]) == (1, "error: intersection.json")
