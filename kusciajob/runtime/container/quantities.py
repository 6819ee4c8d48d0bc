"""Kubernetes quantities as the numbers that a container engine takes."""

import re
from decimal import ROUND_CEILING, Decimal

_QUANTITY = re.compile(r"\+?([0-9.]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_BINARY = {suffix: Decimal(1024) ** power for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {
    suffix: Decimal(1000) ** power for power, suffix in enumerate("numkMGTPE", start=-3) if suffix not in "kMGTPE"
}
_DECIMAL |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)}
NANO = 10**9


def whole(quantity: str, unit: int = 1) -> int:
    """The quantity in units of 1/unit, rounded up; 0 for "". Raises ValueError for what is none."""
    if not quantity:
        return 0
    if (found := _QUANTITY.fullmatch(quantity)) is None:
        raise ValueError(f"{quantity!r} is no quantity")
    digits, suffix = found[1], found[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        factor = Decimal(10) ** int(suffix[1:])
    else:
        factor = _BINARY.get(suffix) or _DECIMAL[suffix]
    return int((Decimal(digits) * factor * unit).to_integral_value(ROUND_CEILING))
