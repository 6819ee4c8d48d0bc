"""Times and time spans: seconds in the model, Timestamp and Duration on the wire."""

from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from kusciajob.model.errors import Problem

NANOS = 1_000_000_000
MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, of which a Timestamp can tell."""


def set_time(message: Timestamp, seconds: float | None) -> None:
    """Write a time, to the microsecond; None leaves it unset."""
    if seconds is not None:
        whole = min(max(int(seconds // 1), MIN_SECONDS), MAX_SECONDS)
        message.seconds = whole
        message.nanos = min(max(round((seconds - whole) * 1e6), 0), 999_999) * 1000
        message.SetInParent()


def set_duration(message: Duration, seconds: float | None) -> None:
    """Write a time span, to the nanosecond; None leaves it unset."""
    if seconds is not None:
        nanos = round(seconds * NANOS)
        message.seconds, message.nanos = nanos // NANOS, nanos % NANOS
        message.SetInParent()


def seconds_of(message: Timestamp | Duration) -> float:
    """What a message says that has no problem."""
    return message.seconds + message.nanos / NANOS


def of_time(field: str, message: Timestamp) -> Iterator[Problem]:
    """A Timestamp that is none."""
    if not (MIN_SECONDS <= message.seconds <= MAX_SECONDS and 0 <= message.nanos < NANOS):
        yield Problem(
            field,
            f"{field} of {message.seconds} s and {message.nanos} ns is no time: the years 1 to 9999, "
            f"nanos 0 to {NANOS - 1}",
        )


def of_duration(field: str, message: Duration, *, label: str = "") -> Iterator[Problem]:
    """A Duration that is none. How long it may be is for the rules to say."""
    is_mixed = message.seconds * message.nanos < 0
    if is_mixed or not -NANOS < message.nanos < NANOS:
        yield Problem(
            field,
            f"{label or field} of {message.seconds} s and {message.nanos} ns is no time span: nanos have the sign of "
            f"seconds, and are less than {NANOS}",
        )
