"""Settings: what goes before what, and what is refused with which words."""

from pathlib import Path

import pytest

from kusciajob import config
from kusciajob.config import Settings, SettingsError


def load(
    flags: dict[str, object] | None = None, environment: dict[str, str] | None = None, file: Path | None = None
) -> Settings:
    return config.load(flags or {}, environment=environment or {}, file=file)


def test_nothing_given_means_the_defaults() -> None:
    assert load() == Settings()


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('host = "file"\npath = "file"\nruntime = "simulated"\n')
    settings = load({"host": "flag"}, {"KUSCIAJOB_HOST": "variable", "KUSCIAJOB_PATH": "variable"}, file)
    assert (settings.host, settings.path, settings.runtime) == ("flag", "variable", "simulated")
    assert settings.grpc_port == Settings().grpc_port


def test_an_absent_flag_and_an_empty_variable_count_as_not_given() -> None:
    assert load({"host": None}, {"KUSCIAJOB_GRPC_PORT": ""}) == Settings()


def test_text_becomes_the_type_of_the_setting() -> None:
    settings = load({"grpc_port": "0", "data_dir": "~/jobs"}, {"KUSCIAJOB_STOP_GRACE_SECONDS": "2.5"})
    assert settings.grpc_port == 0
    assert settings.data_dir == Path.home() / "jobs"
    assert settings.stop_grace_seconds == 2.5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.toml", 'grpc_port = 9000\ndata_dir = "jobs"\n'),
        ("settings.yaml", "grpc_port: 9000\ndata_dir: jobs\n"),
    ],
)
def test_toml_and_yaml_files_say_the_same(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert load(file=file) == Settings(grpc_port=9000, data_dir=Path("jobs"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"grpc_port": "many"}, ["grpc_port", "'many'", "int"]),
        ({"grpc_port": "65536"}, ["grpc_port", "'65536'", "65535"]),
        ({"runtime": "docker"}, ["runtime", "'docker'"]),
        ({"max_message_mib": "0"}, ["max_message_mib", "'0'", "1"]),
        ({"first_port": "3000", "last_port": "2000"}, ["first_port 3000", "last_port 2000"]),
        ({"testing": "true", "runtime": "process"}, ["testing", "simulated", "'process'"]),
        ({"testing": "true", "host": "0.0.0.0"}, ["testing", "'0.0.0.0'"]),
        ({"testing": "true", "store": "postgresql://kusciajob@db/jobs"}, ["testing", "store"]),
        ({"quirks": "kuscia"}, ["quirks", "'kuscia'", "testing"]),
        ({"clock": "auto"}, ["clock", "'auto'", "testing"]),
        ({"data_dir": ":memory:"}, ["data_dir", ":memory:", "testing"]),
    ],
)
def test_a_bad_value_is_refused_by_name_and_value(flags: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load(flags)
    assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("grpc_prot = 1\n", ["unknown setting 'grpc_prot'", "grpc_port"]),
        ("grpc_port = \n", ["cannot be read"]),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, content: str, words: list[str]) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        load(file=file)
    assert [word for word in [str(file), *words] if word not in str(refused.value)] == []


def test_a_list_in_a_yaml_file_holds_no_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("- grpc_port\n")
    with pytest.raises(SettingsError, match="holds no settings"):
        load(file=file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="absent"):
        load(file=tmp_path / "absent.yaml")


def test_directories_without_a_setting_of_their_own_are_below_the_data_directory() -> None:
    settings = Settings(data_dir=Path("jobs"))
    assert (settings.app_images, settings.domains) == (Path("jobs/appimages"), Path("jobs/domains"))
    elsewhere = Settings(app_image_dir=Path("images"), domains_dir=Path("domains"))
    assert (elsewhere.app_images, elsewhere.domains) == (Path("images"), Path("domains"))


def test_a_server_for_testing_simulates() -> None:
    settings = load({"testing": True, "quirks": "kuscia", "host": "::1"})
    assert (settings.runtime, settings.quirks) == ("simulated", "kuscia")


def test_every_setting_is_described_with_flag_variable_default_and_choices() -> None:
    described = {setting.name: setting for setting in config.describe()}
    assert list(described) == list(Settings.__struct_fields__)
    runtime = described["runtime"]
    assert (runtime.flag, runtime.variable) == ("--runtime", "KUSCIAJOB_RUNTIME")
    assert (runtime.default, runtime.choices) == ("process", ("process", "container", "kubernetes", "simulated"))
    assert described["stop_grace_seconds"].flag == "--stop-grace-seconds"
    assert [name for name, setting in described.items() if not setting.description] == []
