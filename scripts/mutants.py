"""Mutation run: changes one thing in the code at a time and names the changes that no test notices.

    .venv/bin/python scripts/mutants.py --minutes 10 --seed 1 kusciajob/model kusciajob/events/hub.py

The mutants are made by cosmic-ray's operators and by one of our own, which removes a statement. Each is tested in a
copy of the tree, so that the tree itself stays as it is. A process that has imported what the tests need is forked for
each mutant: that takes a quarter of the time of a new one.
"""

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from signal import SIGKILL
from typing import Any, NamedTuple

import parso
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kusciajob/model", "kusciajob/scheduler", "kusciajob/events", "kusciajob/store")
# What notices a mutant there, quickest first; the longest prefix of a file's path counts.
JOBS = [f"tests/unit/test_{name}.py" for name in ("planner", "transitions", "waiting_texts", "strict_jobs", "details")]
SCHEDULER = [
    f"tests/unit/test_{name}.py"
    for name in (
        *("waiting_room", "slots", "fair_room", "restart", "departures", "reports_together", "told_once", "told_waits"),
        *("resumed_jobs", "left_parties", "scheduler", "random_jobs", "random_room"),
    )
]
TESTS: dict[str, list[str]] = {
    "kusciajob/model/planner.py": [*JOBS, *SCHEDULER],
    "kusciajob/model/moves.py": [*JOBS, *SCHEDULER],
    "kusciajob/model/transitions.py": [*JOBS, *SCHEDULER],
    "kusciajob/model/failures.py": [*JOBS, "tests/unit/test_scheduler.py"],
    "kusciajob/model": [
        *JOBS,
        *(
            f"tests/unit/test_{name}.py"
            for name in (
                *("job", "graph", "status_table", "expansion", "appimage", "cluster", "template", "limits"),
                *("bounded_texts", "bounds", "codec", "catalog", "damaged_parts", "budgets"),
            )
        ),
    ],
    "kusciajob/scheduler": SCHEDULER,
    "kusciajob/events": [
        *(
            f"tests/unit/test_{name}.py"
            for name in ("ring", "waiting_for_the_store", "details", "bytes_kept", "domain_watch")
        ),
        *(f"tests/conformance/test_{name}.py" for name in ("replayed_jobs", "hub")),
    ],
    "kusciajob/store": [
        "tests/conformance",
        *(
            f"tests/unit/test_{name}.py"
            for name in ("landmark", "sqlite_store", "unseen_damage", "damaged_parts", "damaged_rows")
        ),
    ],
}
IMPORTED = (
    "pytest asyncio aiohttp click cryptography.x509 google.protobuf.message grpc.aio msgspec "
    "prometheus_client rich.console sqlite3 yaml"
)
"""By the process that is forked. Nothing of kusciajob and tests: that differs from mutant to mutant."""
PATIENCE_SECONDS = "5"
"""How long a test waits for what a mutant may never do."""
LEAST_SECONDS = 20.0
"""A mutant that takes longer, and four times as long as the code does, counts as noticed: it hangs."""
OPERATORS = [
    "core/" + name
    for name in (
        *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
        *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "ExceptionReplacer"),
        *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
        *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
        *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "BitOr_BitAnd")),
        *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub"),
    )
]
"""Numbers are left as they are: mostly they are limits and intervals, which tests take from the code."""


SILENT = ("logger.", "frozen=", "gc=", "strict=")
"""Log lines, and flags that change nothing in code that works."""


class RemoveStatement(Operator):
    """Replaces a statement that has an effect (a call, an assignment, del, raise, return) by `pass`."""

    kinds = ("expr_stmt", "atom_expr", "await_expr", "del_stmt", "raise_stmt", "return_stmt")

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and self._is_in_function(node) and node.children[0].type in self.kinds:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        kept = node.children[0]
        node.children[0] = parso.python.tree.Keyword("pass", kept.start_pos, prefix=kept.get_first_leaf().prefix)
        return node

    def _is_in_function(self, node: Any) -> bool:
        return parso.tree.search_ancestor(node, "funcdef") is not None

    @classmethod
    def examples(cls) -> Sequence[Any]:
        return ()


class Mutant(NamedTuple):
    """One change: the operator's n-th possible one in a file."""

    path: str
    operator: str
    number: int


class Result(NamedTuple):
    mutant: Mutant
    line: int
    is_noticed: bool
    diff: str


def operator_of(name: str) -> Operator:
    made: Operator = RemoveStatement() if name == RemoveStatement.__name__ else plugins.get_operator(name)()
    return made


def mutants_of(path: str) -> Iterator[Mutant]:
    """Every mutant of a file that differs from it when it runs."""
    code = (ROOT / path).read_text()
    tree = get_ast(code)
    silent = silent_lines(code)
    for name in [*OPERATORS, RemoveStatement.__name__]:
        operator = operator_of(name)
        positions = (position for node in ast_nodes(tree) for position in operator.mutation_positions(node))
        for number, (start, _) in enumerate(positions):
            if not is_silent(start, silent):
                yield Mutant(path, name, number)


def silent_lines(code: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations stand, and what is named in SILENT."""
    spans: list[ast.AST] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            spans.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            spans.append(node.returns)
        elif isinstance(node, ast.keyword | ast.Expr) and ast.unparse(node).startswith(SILENT):
            spans.append(node)
    return [
        ((span.lineno, span.col_offset), (span.end_lineno, span.end_col_offset))  # type: ignore[attr-defined]
        for span in spans
    ]


def is_silent(start: tuple[int, int], silent: list[tuple[tuple[int, int], tuple[int, int]]]) -> bool:
    return any(first <= start < last for first, last in silent)


def tests_for(path: str) -> list[str]:
    prefix = max((prefix for prefix in TESTS if path.startswith(prefix)), key=len)
    return [test for test in TESTS[prefix] if (ROOT / test).exists()]


def run_pytest(tests: list[str], seconds: float, keeps_bytecode: bool) -> int:
    """In the fork."""
    import pytest  # noqa: PLC0415 - with the copy's configuration

    os.setsid()
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    # A mutant may have the size and the second of the code: its bytecode must not be kept, nor the code's be used.
    sys.dont_write_bytecode = not keeps_bytecode
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", *tests]))


def run_tests(tests: list[str], seconds: float, *, keeps_bytecode: bool = False) -> bool:
    """Whether the tests pass within that time, in a fork of this process."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = run_pytest(tests, seconds, keeps_bytecode)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(ProcessLookupError):
                os.killpg(pid, SIGKILL)
            return status == 0
        time.sleep(0.02)
    os.killpg(pid, SIGKILL)
    os.waitpid(pid, 0)
    return False


def work(mutants: Sequence[Mutant], end: float, results: "SimpleQueue[Result | str]") -> None:
    """Test mutants in a copy of the tree until that time; "" or what went wrong is the last result."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "*.egg-info"), symlinks=True)
        os.chdir(copy)
        sys.path[:] = [str(copy), *(entry for entry in sys.path if entry not in ("", str(ROOT), str(ROOT / "scripts")))]
        os.environ |= {"PYTHONPATH": str(copy), "PATIENCE_SECONDS": PATIENCE_SECONDS}
        for name in IMPORTED.split():
            __import__(name)
        limits: dict[str, float] = {}
        for mutant in mutants:
            if time.monotonic() > end:
                break
            tests = tests_for(mutant.path)
            named = " ".join(tests)
            if named not in limits:
                begin = time.monotonic()
                if not run_tests(tests, 600, keeps_bytecode=True):
                    results.put(f"these tests fail without any change: {named}\n{Path('output').read_text()}")
                    return
                limits[named] = max(LEAST_SECONDS, 4 * (time.monotonic() - begin))
            result = tried(mutant, copy / mutant.path, tests, limits[named])
            if result is not None:
                results.put(result)
    results.put("")


def tried(mutant: Mutant, file: Path, tests: list[str], seconds: float) -> Result | None:
    """What the tests make of a mutant; None where it is no change, or no Python."""
    code = file.read_text()
    changed = mutate_code(code, operator_of(mutant.operator), mutant.number)
    if changed is None or is_same(code, changed):
        return None
    try:
        file.write_text(changed)
        forget_bytecode(file)
        is_noticed = not run_tests(tests, seconds)
    finally:
        file.write_text(code)
        forget_bytecode(file)
    before, after = code.splitlines(), changed.splitlines()
    line = next(number for number, pair in enumerate(zip(before, after, strict=False), 1) if pair[0] != pair[1])
    diff = [
        text for text in difflib.unified_diff(before, after, n=0, lineterm="") if not text.startswith(("---", "+++"))
    ]
    return Result(mutant, line, is_noticed, "\n".join(diff[1:]))


def is_same(code: str, changed: str) -> bool:
    try:
        return ast.dump(ast.parse(code)) == ast.dump(ast.parse(changed))
    except SyntaxError:
        return True


def forget_bytecode(path: Path) -> None:
    for file in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        file.unlink()


def files_of(paths: Sequence[str]) -> list[str]:
    found: list[Path] = []
    for path in paths:
        found += [ROOT / path] if path.endswith(".py") else sorted((ROOT / path).rglob("*.py"))
    return [str(file.relative_to(ROOT)) for file in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "paths", nargs="*", default=list(ROOMS), help=f"files, directories (default: {' '.join(ROOMS)})"
    )
    parser.add_argument("--minutes", type=float, default=10, help="begin no other mutant after that; 0: try them all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides which ones are tried first")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()

    mutants = [mutant for path in files_of(arguments.paths) for mutant in mutants_of(path)]
    random.Random(arguments.seed).shuffle(mutants)  # noqa: S311
    print(f"{len(mutants)} mutants at most, seed {arguments.seed}", flush=True)
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    context = multiprocessing.get_context("fork")
    results: SimpleQueue[Result | str] = context.SimpleQueue()
    count = arguments.processes
    workers = [
        context.Process(target=work, args=(mutants[at::count], end, results), daemon=True) for at in range(count)
    ]
    for worker in workers:
        worker.start()
    seen: list[Result] = []
    while count:
        result = results.get()
        if isinstance(result, Result):
            seen.append(result)
            if not result.is_noticed:
                print(f"\n{result.mutant.path}:{result.line} ({result.mutant.operator})\n{result.diff}", flush=True)
            continue
        count -= 1
        if result:
            print(result, flush=True)
    survivors = sum(not result.is_noticed for result in seen)
    print(f"\n{len(seen)} tried, {survivors} not noticed by any test")
    return 1 if survivors or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
