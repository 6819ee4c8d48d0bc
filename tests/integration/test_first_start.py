"""`kusciajob serve` begins with what it is and what to try, and a first start warns of nothing."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kusciajob import __version__
from tests.support.polling import eventually_sync
from tests.support.program import END_SECONDS, argv
from tests.support.server import clean_environment

ROOT = Path(__file__).parents[2]
_LAST_LINE = re.compile(r"^ {4} +kusciajob watch .*\n$")


def environment() -> dict[str, str]:
    """Any free ports; all else is as a newcomer has it."""
    return clean_environment() | {"KUSCIAJOB_GRPC_PORT": "0", "KUSCIAJOB_HTTP_PORT": "0"}


def init(directory: Path) -> None:
    subprocess.run(argv("init"), cwd=directory, env=environment(), check=True, capture_output=True)


@contextmanager
def serving(directory: Path, *options: str, **more: str) -> Iterator[list[str]]:
    """The log of a server in that working directory, first to the end of its greeting; at last all of it."""
    command, variables = argv("serve", *options), environment() | more
    with subprocess.Popen(command, cwd=directory, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        log: list[str] = []
        try:
            while not (log and (_LAST_LINE.match(log[-1]) or '"details"' in log[-1])):
                line = process.stderr.readline()
                assert line, "".join(log)
                log.append(line)
            yield log
            process.send_signal(signal.SIGTERM)
            log += process.stderr.readlines()
            assert process.wait(END_SECONDS) == 0
        finally:
            process.kill()


def greeting_of(log: list[str]) -> dict[str, str]:
    """The indented lines below the record that the server is up, by their names; the second to try is named `and`."""
    start = next(number for number, line in enumerate(log) if line.endswith(f" kusciajob {__version__} is up\n"))
    facts = {}
    for line in log[start + 1 :]:
        assert line.startswith("    ")
        facts[line[4:18].strip() or "and"] = line[18:].strip()
    return facts


def pasted(line: str) -> str:
    """What the line prints in a shell; without a job `watch` would go on for ever."""
    command = f"{line} --timeout 1" if line.startswith("kusciajob watch --") else line
    shell = f'kusciajob() {{ "{sys.executable}" -m kusciajob "$@"; }}\n{command}'
    done = subprocess.run(["sh", "-c", shell], env=clean_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


def assert_warns_of_nothing(log: list[str]) -> None:
    assert [line for line in log if "WARN" in line or "ERROR" in line] == []


def test_a_first_start_without_options(tmp_path: Path) -> None:
    with serving(tmp_path) as log:
        facts = greeting_of(log)
        assert re.fullmatch(r"127\.0\.0\.1:\d+", facts["gRPC"])
        assert re.fullmatch(r"(http://127\.0\.0\.1:\d+) \(metrics: \1/metrics\)", facts["HTTP"])
        assert facts["protocol"].startswith("notls: ")
        assert facts["data directory"] == str(tmp_path / "kusciajob-data")
        assert facts["runtime"].startswith("process: ")
        assert facts["AppImages"].startswith(f"none in {tmp_path}/kusciajob-data/appimages: put ")
        eventually_sync(lambda: '"ready":true' in pasted(facts["try"]).replace(" ", ""))
        assert pasted(facts["and"]) == ""
    assert_warns_of_nothing(log)


def test_a_first_start_with_the_simulated_runtime_has_a_job_to_try(tmp_path: Path) -> None:
    with serving(tmp_path, "--runtime", "simulated") as log:
        facts = greeting_of(log)
        assert facts["AppImages"] == "any name will do"
        assert pasted(facts["try"]) == "first\n"
        assert "first Succeeded" in pasted(facts["and"])
    assert_warns_of_nothing(log)


def test_a_first_start_with_what_init_writes_is_called_with_certificates(tmp_path: Path) -> None:
    init(tmp_path)
    with serving(tmp_path) as log:
        facts = greeting_of(log)
        assert facts["HTTP"].startswith("https://")
        assert facts["protocol"].startswith("mtls: ")
        assert (tmp_path / "kusciajob-data/certs/token").read_text() not in "".join(log)
        eventually_sync(lambda: '"ready":true' in pasted(facts["try"]).replace(" ", ""))
        assert pasted(facts["and"]) == ""
    assert_warns_of_nothing(log)


def test_a_first_start_with_the_example_settings_tells_its_app_images(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with serving(tmp_path, "--config", "examples/settings.toml", KUSCIAJOB_HTTP_PORT="") as log:
        facts = greeting_of(log)
    assert (facts["data directory"], facts["HTTP"]) == (str(tmp_path / "jobs"), "off")
    count, _, names = facts["AppImages"].partition(f" in {ROOT}/examples/psi/appimages: ")
    assert int(count) == len(names.split(", ")) > 0
    assert facts["try"].startswith("grpcurl -plaintext 127.0.0.1:")
    assert_warns_of_nothing(log)


def test_as_json_the_greeting_is_one_object(tmp_path: Path) -> None:
    init(tmp_path)
    with serving(tmp_path, "--log-format", "json", "--protocol", "tls") as log:
        entry = json.loads(log[-1])
    assert (entry["level"], entry["message"]) == ("INFO", f"kusciajob {__version__} is up")
    details = entry["details"]
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+", details["http_address"])
    assert details["metrics_address"] == f"{details['http_address']}/metrics"
    assert [line.split()[0] for line in details["try"]] == ["curl", "kusciajob"]
    assert [line for line in details["try"] if str(tmp_path / "kusciajob-data/certs") not in line] == []
    told = {name: details[name] for name in ("version", "protocol", "runtime", "data_dir", "app_images")}
    assert told == {
        "version": __version__,
        "protocol": "tls",
        "runtime": "process",
        "data_dir": str(tmp_path / "kusciajob-data"),
        "app_images": 0,
    }
    assert all(json.loads(line)["level"] == "INFO" for line in log)
