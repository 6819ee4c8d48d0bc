"""What a benchmark is, and how its rounds become a result.

The server runs on one core and the load generator on the other. Rounds of the floor and of the server alternate, so
that a machine that slows down slows both; a ratio is the median of the rounds' ratios. Floors run on the event loop and
in the scheduling class of the server. A rate is the server's own as long as the generator idles: where that was busy
for nine tenths of a round, a note says so.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, TypeAlias

from msgspec import Struct

BUSY_GENERATOR = 0.9


class Effort(Struct, frozen=True):
    """How much to measure."""

    rounds: int
    calls: int
    """Per round, of the calls that are served at thousands a second; others are scaled from it."""
    stored_jobs: int
    seconds: float
    """No benchmark is begun later than this."""


QUICK = Effort(rounds=3, calls=2_000, stored_jobs=100_000, seconds=480)
FULL = Effort(rounds=9, calls=6_000, stored_jobs=1_000_000, seconds=7_200)


class Target(Struct, frozen=True):
    """What the value, or its ratio to the floor, must keep to."""

    of: Literal["value", "ratio"]
    limit: float
    is_upper: bool

    def is_met(self, *, value: float, ratio: float | None) -> bool:
        found = value if self.of == "value" or ratio is None else ratio
        return found <= self.limit if self.is_upper else found >= self.limit

    def reached(self, *, value: float, ratio: float | None) -> float:
        """How much of the target is reached: 1 and more where it is met."""
        found = value if self.of == "value" or ratio is None else ratio
        if self.is_upper:
            return self.limit / found if found else math.inf
        return found / self.limit

    def text(self, unit: str) -> str:
        if self.limit == math.inf:
            return ""
        sign = "<=" if self.is_upper else ">="
        return f"{sign} {self.limit:g} {unit}" if self.of == "value" else f"ratio {sign} {self.limit:g}"


NO_TARGET = Target("value", math.inf, is_upper=True)
"""For figures that are for the reader."""


def ratio_at_least(limit: float) -> Target:
    return Target("ratio", limit, is_upper=False)


def ratio_at_most(limit: float) -> Target:
    return Target("ratio", limit, is_upper=True)


def at_most(limit: float) -> Target:
    return Target("value", limit, is_upper=True)


class Rate(Struct, frozen=True):
    """What one round has shown. `busy` is the generator's share of its core, 0 to 1."""

    value: float
    busy: float = 0.0


class Result(Struct, frozen=True):
    """One line of the table and of results.json."""

    name: str
    unit: str
    value: float
    floor: float | None
    ratio: float | None
    target: str
    met: bool
    rounds: int
    spread: float
    """From the lowest to the highest round, as a share of the median."""
    reached: float
    note: str = ""


Benchmark: TypeAlias = Callable[[Effort, Path], Iterator[Result]]
"""Gets an empty directory of its own."""


def alternate(rounds: int, floor: Callable[[], Rate], ours: Callable[[], Rate]) -> list[tuple[Rate, Rate]]:
    """Measure in turns; a first turn, in which caches and buffers find their size, does not count."""
    pairs = [(floor(), ours()) for _ in range(rounds + 1)]
    return pairs[1:]


def compare(name: str, unit: str, target: Target, pairs: Sequence[tuple[Rate, Rate]]) -> Result:
    """The result of pairs of floor and server."""
    ratios = [ours.value / floor.value for floor, ours in pairs]
    busiest = max(rate.busy for pair in pairs for rate in pair)
    return _result(
        name,
        unit,
        target,
        value=median(ours.value for _, ours in pairs),
        floor=median(floor.value for floor, _ in pairs),
        ratio=median(ratios),
        spread=_spread(ratios),
        rounds=len(pairs),
        note=f"load generator {busiest:.0%} busy" if busiest > BUSY_GENERATOR else "",
    )


def single(name: str, unit: str, target: Target, values: Sequence[float], *, floor: float | None = None) -> Result:
    """The result of one value per round. The floor is for the reader."""
    value = median(values)
    return _result(name, unit, target, value=value, floor=floor, ratio=None, spread=_spread(values), rounds=len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def _result(
    name: str,
    unit: str,
    target: Target,
    *,
    value: float,
    floor: float | None,
    ratio: float | None,
    spread: float,
    rounds: int,
    note: str = "",
) -> Result:
    return Result(
        name=name,
        unit=unit,
        value=value,
        floor=floor,
        ratio=ratio,
        target=target.text(unit),
        met=target.is_met(value=value, ratio=ratio),
        rounds=rounds,
        spread=spread,
        reached=target.reached(value=value, ratio=ratio),
        note=note,
    )


def _spread(values: Sequence[float]) -> float:
    width = max(values) - min(values)
    return width / abs(median(values)) if width else 0.0  # of one value that may be 0 there is none
