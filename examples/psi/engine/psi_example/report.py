"""A page for people about what the two steps before found, made by one party from its own files.

Settings: `intersection` (the summary beside the rows, default intersection.json),
`means` (default group_means.json), `output` (default report.md).
"""

from __future__ import annotations

from typing import Any

from psi_example.files import read_json, write_text
from psi_example.task import Task, TaskError, run_program


def render_report(domain_id: str, intersection: dict[str, Any], means: dict[str, Any]) -> str:
    """The page as Markdown. Raises KeyError or TypeError when a result has another shape."""
    groups = means["groups"]
    features = list(next(iter(groups.values()))["means"])
    heads = " | ".join(f"{name} ({group['rows']} rows)" for name, group in groups.items())
    lines = [
        f"# Joint result, as {domain_id} sees it",
        "",
        f"- rows of {domain_id} in {intersection['input']}: {intersection['input_rows']}",
        f"- shared with the other party: {intersection['common_rows']}",
        "",
        f"| mean of | {heads} |",
        f"|---|{'---|' * len(groups)}",
    ]
    for feature in features:
        cells = " | ".join(f"{group['means'][feature]:.5g}" for group in groups.values())
        lines.append(f"| {feature} | {cells} |")
    return "\n".join(lines) + "\n"


def write_report(task: Task) -> None:
    """Write the page; raises TaskError when a result of an earlier task is missing or has another shape."""
    intersection = read_json(task.file("intersection", "intersection.json"))
    means = read_json(task.file("means", "group_means.json"))
    try:
        page = render_report(task.me.domain_id, intersection, means)
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise TaskError(f"the results of the earlier tasks lack {error}") from error
    output = task.file("output", "report.md")
    write_text(output, page)
    print(f"wrote {output.name}")


def main() -> None:
    """Entry point of psi-report."""
    run_program(write_report)
