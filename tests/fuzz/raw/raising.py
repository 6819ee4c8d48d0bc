"""A target with a fault that is found step by step or never: one input in 2^32, were nobody guided."""


def run(data: bytes) -> None:
    """Fails on what begins with "bug!"."""
    if data[:1] == b"b" and data[1:2] == b"u" and data[2:3] == b"g" and data[3:4] == b"!":
        raise ZeroDivisionError


def seeds() -> list[bytes]:
    return [b"seed"]
