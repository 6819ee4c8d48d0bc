"""The name of a setting may be written with - or _, and what stands for its value says what that is."""

from pathlib import Path

import pytest

from kusciajob import config
from kusciajob.cli import texts
from kusciajob.config import Settings, SettingsError


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.toml", 'grpc-port = 9000\ndata_dir = "jobs"\n'),
        ("settings.yaml", "grpc-port: 9000\ndata_dir: jobs\n"),
    ],
)
def test_a_file_may_have_hyphens_and_underscores(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert config.load({}, environment={}, file=file) == Settings(grpc_port=9000, data_dir=Path("jobs"))


def test_a_setting_that_a_file_has_in_both_writings_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("grpc-port = 9000\ngrpc_port = 9001\n")
    with pytest.raises(SettingsError, match=r"has setting grpc_port twice"):
        config.load({}, environment={}, file=file)


def test_an_unknown_setting_is_named_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("grpc-prot = 1\n")
    with pytest.raises(SettingsError, match=r"unknown setting 'grpc-prot'; known: .*grpc_port"):
        config.load({}, environment={}, file=file)


def test_a_metavar_is_the_unit_or_the_kind_of_the_value() -> None:
    metavars = {setting.name: setting.metavar for setting in config.describe()}
    units = ("host", "port", "dir", "file", "seconds", "hours", "days", "mib")
    expected = dict.fromkeys(metavars, "COUNT")
    expected |= {name: name.rpartition("_")[2].upper() for name in metavars if name.rpartition("_")[2] in units}
    expected |= {setting.name: "" for setting in config.describe() if setting.choices}
    expected |= {setting.name: "" for setting in config.describe() if isinstance(setting.default, bool)}
    expected |= {"max_upload_mib_per_peer": "MIB", "path": "DIR[:DIR...]", "run_as": "USER|DOMAIN=USER"}
    expected |= {"allowed_hosts": "HOST,...", "allowed_origins": "ORIGIN,..."}
    expected |= {"progress_address": "HOST:PORT", "container_user": "UID[:GID]", "otlp_endpoint": "URL"}
    expected |= {"store": "URL"}
    expected |= {"kube_config": "FILE", "kube_context": "NAME", "namespace": "NAME"}
    assert metavars == expected


def test_a_time_of_another_day_has_a_date() -> None:
    assert texts.local_time("2026-01-02T12:00:00Z").startswith("2026-01-0")
