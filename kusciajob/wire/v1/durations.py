"""Time spans: seconds in the model, Duration on the wire."""

from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration

from kusciajob.model.errors import Problem

NANOS = 1_000_000_000


def set_duration(message: Duration, seconds: float | None) -> None:
    """Write a time span, to the nanosecond; None leaves it unset."""
    if seconds is not None:
        nanos = round(seconds * NANOS)
        message.seconds, message.nanos = nanos // NANOS, nanos % NANOS
        message.SetInParent()


def seconds_of(message: Duration) -> float:
    """What a message says that has no problem."""
    return message.seconds + message.nanos / NANOS


def of_duration(field: str, message: Duration, *, label: str = "") -> Iterator[Problem]:
    """A Duration that is none. How long it may be is for the rules to say."""
    is_mixed = message.seconds * message.nanos < 0
    if is_mixed or not -NANOS < message.nanos < NANOS:
        yield Problem(
            field,
            f"{label or field} of {message.seconds} s and {message.nanos} ns is no time span: nanos have the sign of "
            f"seconds, and are less than {NANOS}",
        )
