"""Writes what the documents take from the code: states, settings, metrics, error codes, benchmark results.

--check only compares. It also looks whether both READMEs have the same commands and headings, and whether every link
from one document to another leads somewhere, and every file is there that a document names.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from click.testing import CliRunner
from google.rpc import code_pb2
from prometheus_client.parser import text_string_to_metric_families

from kusciajob.cli.settings import settings
from kusciajob.model.moves import OPERATION_TABLE, TASK_MOVES, Effect, Operation, job_moves
from kusciajob.model.status import JobState, TaskState
from kusciajob.operations import formats
from kusciajob.operations.server_metrics import ServerMetrics
from kusciajob.telemetry.metrics import Metrics
from kusciajob.wire import rich_status
from kusciajob.wire.status import Code

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
ON_A_CLUSTER = ROOT / "benchmarks" / "kubernetes.json"
SEVERAL_SERVERS = ROOT / "benchmarks" / "several.json"
README = ROOT / "README.md"
TRANSLATION = ROOT / "README.zh-CN.md"

CODES = {
    Code.OK: ("success", ""),
    Code.INVALID_REQUEST: ("the request breaks a rule, or names an unknown AppImage; nothing was stored", "mend it"),
    Code.UNEXPECTED: (
        "an unexpected error, with a reference to the server's log; over HTTP also a body that cannot be read",
        "look up the reference; mend the body",
    ),
    Code.NOT_ALLOWED: (
        "the caller's domain may not see or act on this job, or there is none (both read alike)",
        "use the token of a domain that takes part, or the master's",
    ),
    Code.CREATE_FAILED: (
        "CreateJob: a job of that id exists with other content, a limit of jobs is reached, or the store failed",
        "take another id; delete jobs; look at health",
    ),
    Code.QUERY_FAILED: ("QueryJob: no such job, or its record is damaged", "look at the id; `kusciajob doctor`"),
    Code.BATCH_QUERY_FAILED: (
        "BatchQueryJobStatus: some of the ids are unknown (all are named), or the answer would be too large",
        "leave them out; ask for fewer",
    ),
    Code.DELETE_FAILED: ("DeleteJob: no such job, or the store failed", "look at the id; look at health"),
    Code.STOP_FAILED: ("StopJob: the same", "the same"),
    Code.APPROVE_FAILED: ("ApproveJob: the same, or a rejection of a job that awaits none", "query the job's state"),
    Code.SUSPEND_FAILED: ("SuspendJob: no such job, or the store failed", "look at the id; look at health"),
    Code.RESTART_FAILED: ("RestartJob: the same", "the same"),
    Code.CANCEL_FAILED: ("CancelJob: the same", "the same"),
    Code.NOT_SUSPENDABLE: ("SuspendJob: the job is not Running", "query the job's state"),
    Code.NOT_RESTARTABLE: ("RestartJob: the job is neither Failed nor Suspended", "query the job's state"),
    Code.CREATE_APP_IMAGE_FAILED: (
        "CreateAppImage: a limit of AppImages is reached, or the store failed",
        "delete AppImages; look at health",
    ),
    Code.QUERY_APP_IMAGE_FAILED: ("QueryAppImage: the AppImage cannot be told", "look at the server's log"),
    Code.UPDATE_APP_IMAGE_FAILED: (
        "UpdateAppImage: the AppImage comes from a file, a limit is reached, or the store failed",
        "change the file; look at health",
    ),
    Code.DELETE_APP_IMAGE_FAILED: (
        "DeleteAppImage: no such AppImage, it comes from a file, or the store failed",
        "look at the name; remove the file; look at health",
    ),
    Code.BATCH_QUERY_APP_IMAGE_FAILED: ("BatchQueryAppImage: the answer would be too large", "ask for fewer"),
    Code.APP_IMAGE_NOT_FOUND: (
        "QueryAppImage, UpdateAppImage, BatchQueryAppImage: no such AppImage (all are named), or a file's is refused",
        "look at the name; mend the file",
    ),
    Code.APP_IMAGE_EXISTS: (
        "CreateAppImage: there is one of that name, from the API or a file, which the text names",
        "update it; take another name",
    ),
    Code.QUERY_LOG_FAILED: ("QueryLog: no such task, or it has no such party or replica", "query the job's task ids"),
    Code.QUERY_NODE_FAILED: ("QueryPodNode: the same", "the same"),
}
"""What each code means, and what to do about it."""


REASONS = {
    "REFUSED": "Another refusal, which the text tells.",
    "UNEXPECTED": "An unexpected error; the text has a reference to the server's log.",
    "SERVER_STOPPING": "The server is stopping: connect again to go on.",
    "UNREADABLE": "Bytes that are no such message (gRPC).",
    "LIMIT_REACHED": "A limit of calls, streams or bytes, or the size of a request; the text names its setting.",
    "UNAUTHENTICATED": "The token is missing, wrong or withdrawn, or the client certificate's authority is.",
    "NO_SUCH_PATH": "There is no such path (HTTP).",
    "METHOD_NOT_ALLOWED": "The path takes other methods, which the header `Allow` tells (HTTP).",
}
"""The reasons of kusciajob.v1 that no error of the model explains; those from SERVER_STOPPING on are of the edges."""
_OF_EDGES = {
    "SERVER_STOPPING": code_pb2.UNAVAILABLE,
    "UNREADABLE": code_pb2.INVALID_ARGUMENT,
    "LIMIT_REACHED": code_pb2.RESOURCE_EXHAUSTED,
    "UNAUTHENTICATED": code_pb2.UNAUTHENTICATED,
    "NO_SUCH_PATH": code_pb2.NOT_FOUND,
    "METHOD_NOT_ALLOWED": code_pb2.UNIMPLEMENTED,
}


def diagram() -> str:
    """The moves of a job and of a task as Mermaid state diagrams, and the operations as a table."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> Pending: Create", "    [*] --> AwaitingApproval: Create"]
    lines += [f"    {start} --> {end}: {' or '.join(causes)}" for (start, end), causes in job_moves().items()]
    lines += ["```", "", "| operation | " + " | ".join(JobState) + " |", "|---|" + "---|" * len(JobState)]
    shown = {Effect.APPLY: "yes", Effect.NOTHING: "no effect", Effect.REFUSE: "refused"}
    lines += [
        f"| {operation} | " + " | ".join(shown[OPERATION_TABLE[operation][state]] for state in JobState) + " |"
        for operation in Operation
    ]
    lines += ["", "The tasks of a job (Starting is told as Pending):", "", "```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {TaskState.PENDING}: job created"]
    lines += [f"    {start} --> {end}: {cause}" for (start, end), cause in TASK_MOVES.items()]
    lines += ["```"]
    return "\n".join(lines)


def codes() -> str:
    """Every code with its meaning. KeyError: one has none yet."""
    lines = ["| code | name | meaning | what to do |", "|---|---|---|---|"]
    lines += [f"| {code.value} | {code.name} | {CODES[code][0]} | {CODES[code][1]} |" for code in Code]
    return "\n".join(lines)


def reasons() -> str:
    """How calls of kusciajob.v1 end, by the reasons in their details."""
    lines = ["| reason | gRPC | HTTP | when |", "|---|---|---|---|"]
    causes = [(reason, code, inspect.getdoc(kind) or "") for kind, code, reason in rich_status.CAUSES]
    for reason, code, meaning in (*causes, *((reason, code, "") for reason, code in _OF_EDGES.items())):
        told = REASONS.get(reason) or f"{re.split('[.;]', meaning)[0]}."
        http = 405 if reason == "METHOD_NOT_ALLOWED" else int(rich_status.HTTP_STATUSES[code])
        lines.append(f"| {reason} | {code_pb2.Code.Name(code)} | {http} | {' '.join(told.split())} |")
    return "\n".join(lines)


def metrics() -> str:
    """Every metric with its meaning, as a server tells it whose parts tell nothing."""
    measured, part = Metrics(), MagicMock()
    measured.calls(transport="grpc", method="CreateJob").note(0, 0.0)
    ServerMetrics(measured, Path(), store=part, hub=part, scheduler=part)
    lines = ["| metric | kind | meaning |", "|---|---|---|"]
    for family in text_string_to_metric_families(measured.render().decode()):
        if family.name.startswith("kusciajob_") and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            lines.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join([*lines, "", "Beside them: `process_…`, the memory, time and descriptors of the process."])


def benchmarks() -> str:
    """The results of the last `make bench`."""
    rows = ((*_cells(row), row["target"], "yes" if row["met"] else "**no**") for row in json.loads(RESULTS.read_text()))
    return _markdown(("what", "here", "floor", "ratio", "target", "met"), rows)


def on_a_cluster() -> str:
    """The results of the last `make bench-kubernetes`, which has no targets."""
    return _markdown(("what", "here", "floor", "ratio"), map(_cells, json.loads(ON_A_CLUSTER.read_text())))


def several_servers() -> str:
    """The results of the last `make bench-servers`."""
    found: dict[str, dict[str, float]] = json.loads(SEVERAL_SERVERS.read_text())
    rows = [(name, what, number(value)) for name, values in found.items() for what, value in values.items()]
    return _markdown(("servers", "what", "here"), rows)


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    floor = "" if row["floor"] is None else f"{number(row['floor'])} {row['unit']}".rstrip()
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return row["name"], f"{number(row['value'])} {row['unit']}".rstrip(), floor, ratio


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, *rows)).replace(
        "\n", f"\n|{'---|' * len(head)}\n", 1
    )


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_part(text: str, name: str, content: str) -> str:
    """The text with the content between the part's two markers."""
    begin, end = f"<!-- {name}:begin (scripts/gen_docs.py) -->\n", f"<!-- {name}:end -->"
    head, rest = text.split(begin)
    return f"{head}{begin}{content.strip()}\n{end}{rest.split(end)[1]}"


PARTS = {
    "docs/architecture.md": {"states": diagram},
    "docs/operating.md": {"settings": lambda: CliRunner().invoke(settings).output, "metrics": metrics},
    "docs/errors.md": {"codes": codes, "reasons": reasons},
    "docs/benchmarks.md": {"benchmarks": benchmarks, "kubernetes": on_a_cluster, "several": several_servers},
    "docs/upgrade.md": {"formats": formats.table},
}


def differences(original: str, translation: str) -> list[str]:
    """What two languages of a document must share and do not: code blocks, and the levels of headings in order."""
    found = []
    ours, theirs = code_blocks(original), code_blocks(translation)
    for index in range(max(len(ours), len(theirs))):
        here, there = ours[index : index + 1], theirs[index : index + 1]
        if here != there:
            found.append(f"code block {index + 1} is {here or 'missing'} here and {there or 'missing'} there")
    levels = [[len(line.split()[0]) for line in headings(text)] for text in (original, translation)]
    if levels[0] != levels[1]:
        found.append(f"headings: {headings(original)} here, {headings(translation)} there")
    return found


def code_blocks(text: str) -> list[str]:
    """The commands: code without its comments, which are translated."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(re.sub(r"\s+#\s.*", "", line).rstrip() for line in block.splitlines()) for block in blocks]


def headings(text: str) -> list[str]:
    """Outside of code."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ .*", prose, re.MULTILINE)


def broken_links(document: Path) -> list[str]:
    """Links to files, and to headings in Markdown files, that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        anchors = map(anchor_of, headings(target.read_text())) if anchor and target.suffix == ".md" else ()
        if not target.exists() or (anchor and anchor not in anchors):
            found.append(f"{document.relative_to(ROOT)} links to {link}, which is not there")
    return found


def missing_files(document: Path) -> list[str]:
    """Files that the document names, as seen from the root, the package or the document, and that are not there."""
    names = re.findall(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|sh|yml|toml|service))?)`", document.read_text())
    places = ROOT, ROOT / "kusciajob", document.parent
    lost = [name for name in names if "/" in name.rstrip("/") and not any((place / name).exists() for place in places)]
    return [f"{document.relative_to(ROOT)} names {name}, which is not there" for name in lost]


def anchor_of(heading: str) -> str:
    """As the usual hosts make it."""
    text = heading.lstrip("#").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def main() -> int:
    """1 when --check finds anything."""
    problems = []
    for name, parts in PARTS.items():
        file = ROOT / name
        present = text = file.read_text()
        for part, content in parts.items():
            text = with_part(text, part, content())
        if "--check" not in sys.argv:
            file.write_text(text)
        elif text != present:
            problems.append(f"{name} is out of date: run make docs")
    if "--check" in sys.argv:
        pair = f"{README.name} and {TRANSLATION.name}"
        problems += [f"{pair} differ: {text}" for text in differences(README.read_text(), TRANSLATION.read_text())]
        for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")):
            problems += broken_links(document) + missing_files(document)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
