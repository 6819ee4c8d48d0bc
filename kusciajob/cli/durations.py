"""Time spans and moments as people type them."""

import re
import time
from datetime import datetime
from typing import Any

import click
from google.protobuf.message import Message

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_FORM = "a time span such as 90s, 1h30m or 7d"


def seconds_of(text: str) -> float | None:
    """The seconds of such a text; None where it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Span(click.ParamType[float]):
    """A time span, in seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        seconds = seconds_of(value)
        if seconds is None:
            self.fail(f"{value!r} is not {_FORM}", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """A time, as seconds since the epoch: so long ago, or in ISO 8601, which is local time unless it says otherwise."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        seconds = seconds_of(value)
        if seconds is not None:
            return time.time() - seconds
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither {_FORM} ago nor a time such as 2026-04-16T10:42:55", param, ctx)
        return moment.timestamp()


def set_moments(message: Message, **moments: float | None) -> None:
    """Write moments, as Moment reads them, into the message's fields of those names; None leaves a field out."""
    for field, moment in moments.items():
        if moment is not None:
            getattr(message, field).FromMilliseconds(int(moment * 1000))
