"""The server's settings as options: for the commands that start a server, or tell how one would be started."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from kusciajob import config
from kusciajob.cli.errors import WronglyCalled

_Function = TypeVar("_Function", bound=Callable[..., Any])


def settings(*, without: Collection[str] = ()) -> Callable[[_Function], _Function]:
    """One option for every setting but the named ones, and --config; load_settings makes Settings of them."""

    def decorate(function: _Function) -> _Function:
        for setting in reversed(config.describe()):
            if setting.name not in without:
                function = _setting_option(setting)(function)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Settings from a TOML or YAML file; flags and environment variables go before it.",
        )(function)

    return decorate


def load_settings(flags: Mapping[str, object], config_file: Path | None) -> config.Settings:
    """The settings in force; WronglyCalled where one cannot be."""
    return load_settings_with_sources(flags, config_file)[0]


def load_settings_with_sources(
    flags: Mapping[str, object], config_file: Path | None
) -> tuple[config.Settings, Mapping[str, config.Source]]:
    """The same, and for each setting by its name where it comes from."""
    try:
        return config.load_with_sources(flags, file=config_file)
    except config.SettingsError as error:
        raise WronglyCalled(str(error)) from None


def default_text(setting: config.Setting) -> str:
    """The default as a reader sees it; empty for none."""
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    if isinstance(setting.default, tuple):
        return ",".join(setting.default)
    return "" if setting.default is None else str(setting.default)


def _setting_option(setting: config.Setting) -> Callable[[_Function], _Function]:
    default = default_text(setting)
    notes = f"default: {default}; ${setting.variable}" if default else f"${setting.variable}"
    text = f"{setting.description}  [{notes}]"
    if isinstance(setting.default, bool):
        return click.option(f"{setting.flag}/--no-{setting.flag[2:]}", setting.name, default=None, help=text)
    if setting.choices:
        return click.option(setting.flag, setting.name, type=click.Choice(setting.choices), help=text)
    complete = _COMPLETIONS.get(setting.metavar)
    return click.option(setting.flag, setting.name, metavar=setting.metavar, shell_complete=complete, help=text)


def _complete_directory(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


def _complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


_COMPLETIONS = {"DIR": _complete_directory, "FILE": _complete_file}
