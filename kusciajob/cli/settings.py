"""`kusciajob settings`: the configuration table of the documents, and the settings in force."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kusciajob import config
from kusciajob.cli import options, setting_options, tables, terminal
from kusciajob.cli.errors import WronglyCalled
from kusciajob.cli.setting_options import default_text
from kusciajob.config import Setting, Settings, Source
from kusciajob.security.guard import protocol_in_force


@click.command()
@click.option("--effective", "is_effective", is_flag=True, help="The values in force, and where each comes from.")
@options.table_output
@setting_options.settings()
def settings(is_effective: bool, output: str, config_file: Path | None, **flags: str | bool | None) -> None:
    """Print the server's settings as a Markdown table; with --effective what `serve` would make of them here.

    A flag goes before the environment variable, that before the configuration file, that before the default. In the
    file a setting has its flag's name without the dashes in front; - and _ are the same.
    No setting holds a secret: tokens and keys are in files, of which only the directory is told.
    """
    if is_effective:
        rows = _effective(flags, config_file)
        show = _print_effective
    elif config_file or any(value is not None for value in flags.values()):
        raise WronglyCalled("the list of all settings takes no values: add --effective to see those in force")
    else:
        rows = [_described(setting) for setting in config.describe()]
        show = _print_markdown
    if output == "json":
        terminal.say_json(json.dumps({"settings": rows}, ensure_ascii=False, indent=2))
    else:
        show(rows)


def _described(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "flag": setting.flag,
        "variable": setting.variable,
        "default": default_text(setting),
        "choices": list(setting.choices),
        "meaning": setting.description,
    }


def _print_markdown(rows: Sequence[Mapping[str, Any]]) -> None:
    terminal.say("| flag | environment variable | default | meaning |\n|---|---|---|---|")
    for row in rows:
        meaning = row["meaning"].replace("<", "\\<")  # else Markdown takes <name> for HTML
        if row["choices"]:
            meaning += f" (one of: {', '.join(row['choices'])})"
        default = f"`{row['default']}`" if row["default"] else ""
        terminal.say(f"| `{row['flag']}` | `{row['variable']}` | {default} | {meaning} |")


def _effective(flags: Mapping[str, object], config_file: Path | None) -> list[dict[str, Any]]:
    """For each setting its value as the server acts on it, where it was given, and by which name."""
    in_force, sources = setting_options.load_settings_with_sources(flags, config_file)
    resolved = _resolved(in_force)
    rows = []
    for setting in config.describe():
        source = sources[setting.name]
        places = {Source.FILE: str(config_file), Source.ENVIRONMENT: setting.variable, Source.OPTION: setting.flag}
        value = resolved.get(setting.name, getattr(in_force, setting.name))
        rows.append(
            {
                "name": setting.name,
                "value": str(value) if isinstance(value, os.PathLike) else value,
                "source": source,
                "place": places.get(source, ""),
            }
        )
    return rows


def _resolved(in_force: Settings) -> dict[str, object]:
    """What settings come to whose value depends on others, or on what is in a directory."""
    return {
        "protocol": protocol_in_force(in_force),
        "cert_dir": in_force.certificates,
        "app_image_dir": in_force.app_images,
        "domains_dir": in_force.domains,
        "domains_file": in_force.domain_settings,
    }


def _print_effective(rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [(row["name"], _text(row["value"]), " ".join(filter(None, (row["source"], row["place"])))) for row in rows]
    tables.print_table(("SETTING", "VALUE", "FROM"), lines)


def _text(value: object) -> str:
    """As the file has it, but for quotation marks."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
