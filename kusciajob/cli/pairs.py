"""Options that are repeated, each with a name and a value."""

import click


def pair_of(text: str, *, option: str) -> tuple[str, str]:
    """The name and value of `NAME=VALUE`. BadParameter where it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name, value
