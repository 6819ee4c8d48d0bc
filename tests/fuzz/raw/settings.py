"""The configuration file: TOML when the first byte is odd, else YAML."""

from kusciajob import config
from kusciajob.config import SettingsError
from tests.fuzz.raw.files import file_of
from tests.fuzz.raw.texts import check_text


def run(data: bytes) -> None:
    """Settings, or a SettingsError."""
    is_toml = data[:1] > b"" and data[0] % 2 == 1
    with file_of(data[1:], name="settings.toml" if is_toml else "settings.yaml") as file:
        try:
            settings = config.load({}, environment={}, file=file)
        except SettingsError as error:
            check_text(error)
        else:
            assert settings.first_port <= settings.last_port


def seeds() -> list[bytes]:
    values = {setting.name: setting.default for setting in config.describe()}
    texts = {name: f'"{value}"' if isinstance(value, str) else str(value).lower() for name, value in values.items()}
    texts |= {"data_dir": '"~/data"', "cert_dir": '"/certs"', "app_image_dir": '"images"', "domains_dir": '"d"'}
    yaml = [f"{name}: {text}\n" for name, text in texts.items()]
    toml = [f"{name} = {text}\n" for name, text in texts.items()]
    numbers = "first_port = 0x1_000\nlast_port = 0o17\nstop_grace_seconds = inf # soon\nhost = '''\na\\'''\n"
    return [b"0" + "".join(yaml).encode(), b"1" + "".join(toml).encode(), b"1" + numbers.encode()] + [
        mark + line.encode() for mark, lines in ((b"0", yaml), (b"1", toml)) for line in lines
    ]
