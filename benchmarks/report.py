"""Results for the terminal, for other programs and as a picture."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Result

DIRECTORY = Path(__file__).parent
JSON_FILE = DIRECTORY / "results.json"
PLOT_FILE = DIRECTORY / "results.svg"
JSON_FIELDS = ("name", "unit", "value", "floor", "ratio", "target", "met", "rounds", "spread")

COLUMNS = 130
"""At least, also where the output is no terminal."""

ROW_PIXELS = 26
NAME_PIXELS = 470
TARGET_PIXELS = 220
WIDTH_PIXELS = NAME_PIXELS + 2 * TARGET_PIXELS + 90
MOST_SHOWN = 2.0


def print_table(results: Sequence[Result], *, machine: str) -> None:
    table = Table(caption=machine, caption_justify="left")
    table.add_column("what")
    for column in ("ours", "floor", "ratio", "target", "spread"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for result in results:
        table.add_row(
            f"{result.name} ({result.note})" if result.note else result.name,
            f"{_number(result.value)} {result.unit}",
            "" if result.floor is None else _number(result.floor),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.target,
            f"{result.spread:.0%}",
            _verdict(result),
        )
    console = Console()
    console.width = max(console.width, COLUMNS)
    console.print(table)


def write_json(results: Sequence[Result], file: Path = JSON_FILE) -> None:
    rows = [{name: getattr(result, name) for name in JSON_FIELDS} for result in results]
    file.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")


def write_plot(results: Sequence[Result], *, machine: str, file: Path = PLOT_FILE) -> None:
    """A bar per result: how much of its target it reaches, cut off at twice as much."""
    height = ROW_PIXELS * (len(results) + 2)
    at_target = NAME_PIXELS + TARGET_PIXELS
    rows = [_bar(result, y=ROW_PIXELS * (index + 1)) for index, result in enumerate(results)]
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PIXELS}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{at_target}" y="16" text-anchor="middle" fill="#555">target</text>\n'
        + "".join(rows)
        + f'<line x1="{at_target}" x2="{at_target}" y1="22" y2="{height - ROW_PIXELS}" stroke="#333"/>\n'
        f'<text x="8" y="{height - 8}" fill="#555">{escape(machine)}</text>\n</svg>\n'
    )


def _bar(result: Result, *, y: int) -> str:
    width = round(TARGET_PIXELS * min(result.reached, MOST_SHOWN))
    middle = y + ROW_PIXELS * 0.65
    more = "+" if result.reached > MOST_SHOWN else ""
    return (
        f'<text x="{NAME_PIXELS - 8}" y="{middle:g}" text-anchor="end">{escape(result.name)}</text>\n'
        f'<rect x="{NAME_PIXELS}" y="{y + 4}" width="{width}" height="{ROW_PIXELS - 8}" '
        f'fill="{"#2a9d58" if result.met else "#d1495b"}"/>\n'
        f'<text x="{NAME_PIXELS + width + 6}" y="{middle:g}">{min(result.reached, MOST_SHOWN):.2f}{more}</text>\n'
    )


def _verdict(result: Result) -> str:
    if not result.target:
        return ""
    return "[green]met[/]" if result.met else "[red]missed[/]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
