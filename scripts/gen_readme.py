"""Writes what the README takes from elsewhere: state diagram, settings, benchmark results. --check only compares."""

import json
import sys
from pathlib import Path

from click.testing import CliRunner

from kusciajob.cli.settings import settings
from kusciajob.model.status import JobState
from kusciajob.model.transitions import OPERATION_TABLE, Effect, Operation, job_moves

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results.json"


def diagram() -> str:
    """The moves of a job as a Mermaid state diagram, and the operations as a table."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> Pending: Create", "    [*] --> AwaitingApproval: Create"]
    lines += [f"    {start} --> {end}: {' or '.join(causes)}" for (start, end), causes in job_moves().items()]
    lines += ["```", "", "| operation | " + " | ".join(JobState) + " |", "|---|" + "---|" * len(JobState)]
    shown = {Effect.APPLY: "yes", Effect.NOTHING: "no effect", Effect.REFUSE: "refused"}
    lines += [
        f"| {operation} | " + " | ".join(shown[OPERATION_TABLE[operation][state]] for state in JobState) + " |"
        for operation in Operation
    ]
    return "\n".join(lines)


def benchmarks() -> str:
    """The results of the last `make bench`."""
    lines = ["| what | here | floor | ratio | target | met |", "|---|---|---|---|---|---|"]
    for row in json.loads(RESULTS.read_text()):
        floor = "" if row["floor"] is None else f"{number(row['floor'])} {row['unit']}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        cells = (row["name"], f"{number(row['value'])} {row['unit']}", floor, ratio, row["target"])
        lines.append(f"| {' | '.join(cells)} | {'yes' if row['met'] else '**no**'} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_part(text: str, name: str, content: str) -> str:
    """The text with the content between the part's two markers."""
    begin, end = f"<!-- {name}:begin (scripts/gen_readme.py) -->\n", f"<!-- {name}:end -->"
    head, rest = text.split(begin)
    return f"{head}{begin}{content.strip()}\n{end}{rest.split(end)[1]}"


def main() -> int:
    """1 when --check finds the README out of date."""
    present = README.read_text()
    text = with_part(present, "states", diagram())
    text = with_part(text, "settings", CliRunner().invoke(settings).output)
    text = with_part(text, "benchmarks", benchmarks())
    if "--check" not in sys.argv:
        README.write_text(text)
    elif text != present:
        print("README.md is out of date: run make readme", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
