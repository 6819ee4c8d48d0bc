"""Time spans as a test writes them."""

import re
from datetime import timedelta
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration

from kusciajob.client import specs

Span: TypeAlias = float | str | timedelta
"""Seconds, a text such as "40min", "1.5 h" or "2h 30min", or a timedelta."""

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "days": 86_400.0}
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)")


def seconds_of(span: Span) -> float:
    """Raises ValueError for a text that is no time span."""
    if isinstance(span, timedelta):
        return span.total_seconds()
    if not isinstance(span, str):
        return float(span)
    parts = _PART.findall(span)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != re.sub(r"\s", "", span):
        raise ValueError(f'{span!r} is no time span: a number and one of {", ".join(_UNITS)}, such as "40min"')
    unknown = [unit for _, unit in parts if unit not in _UNITS]
    if unknown:
        raise ValueError(f"{span!r} has the unit {unknown[0]!r}: it must be one of {', '.join(_UNITS)}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration(span: Span) -> Duration:
    """The message."""
    return specs.duration(seconds_of(span))
