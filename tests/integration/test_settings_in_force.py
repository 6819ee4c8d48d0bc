"""`kusciajob settings` tells every setting, and with --effective what is in force and where it comes from."""

import json
from pathlib import Path
from typing import Any

from kusciajob import config
from tests.support.program import assert_refused, kusciajob

EXAMPLE = Path(__file__).parents[2] / "examples" / "settings.toml"


def in_force(*arguments: object, **environment: str) -> dict[str, dict[str, Any]]:
    told = kusciajob("settings", "--effective", "-o", "json", *arguments, server=None, **environment)
    assert (told.returncode, told.stderr) == (0, "")
    return {row.pop("name"): row for row in json.loads(told.stdout)["settings"]}


def test_each_value_is_told_with_its_source_and_no_secret(tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "token").write_text("hidden-token")
    file = tmp_path / "settings.toml"
    file.write_text(f'cert-dir = "{certs}"\nhost = "127.0.0.2"\ngrpc-port = 9000\n')
    arguments = ("--config", file, "--grpc_port", "9002")  # an underscore will do
    environment = {"KUSCIAJOB_HOST": "127.0.0.3", "KUSCIAJOB_GRPC_PORT": "9001", "KUSCIAJOB_UNKNOWN": "hidden-variable"}
    rows = in_force(*arguments, **environment)
    assert list(rows) == [setting.name for setting in config.describe()]
    assert rows["grpc_port"] == {"value": 9002, "source": "option", "place": "--grpc-port"}
    assert rows["host"] == {"value": "127.0.0.3", "source": "environment", "place": "KUSCIAJOB_HOST"}
    assert rows["cert_dir"] == {"value": str(certs), "source": "file", "place": str(file)}
    assert rows["http_port"] == {"value": 8082, "source": "default", "place": ""}
    assert rows["app_image_dir"] == {"value": "kusciajob-data/appimages", "source": "default", "place": ""}
    assert rows["protocol"] == {"value": "mtls", "source": "default", "place": ""}
    assert "hidden" not in json.dumps(rows)
    table = kusciajob("settings", "--effective", *arguments, server=None, **environment).stdout.splitlines()
    lines = {line.split()[0]: line.split()[1:] for line in table}
    assert lines["grpc_port"] == ["9002", "option", "--grpc-port"]
    assert lines["host"] == ["127.0.0.3", "environment", "KUSCIAJOB_HOST"]
    assert lines["cert_dir"] == [str(certs), "file", str(file)]


def test_the_example_file_can_be_loaded_and_each_of_its_five_lines_counts() -> None:
    assert len(EXAMPLE.read_text().splitlines()) == 5
    rows = in_force("--config", EXAMPLE)
    values = {name: row["value"] for name, row in rows.items() if row["source"] == "file"}
    assert values == {
        "data_dir": "jobs",
        "app_image_dir": "examples/psi/appimages",
        "http_port": -1,
        "stop_grace_seconds": 3,
        "job_retention_days": 7,
    }


def test_a_value_without_effective_is_refused() -> None:
    assert_refused(kusciajob("settings", "--host", "127.0.0.2"), "--effective", exit_code=2)
