"""CSV tables with one row per key, and files that appear complete or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psi_example.task import TaskError


@dataclass(frozen=True)
class Table:
    """The columns and rows of a CSV file; `rows` maps each key to its row, in the order of the file."""

    columns: tuple[str, ...]
    key: str
    rows: dict[str, tuple[str, ...]]

    def column(self, name: str) -> list[str]:
        """The values of one column in row order; raises TaskError when there is no such column."""
        if name not in self.columns:
            raise TaskError(f"there is no column {name!r}; the columns are {', '.join(self.columns)}")
        index = self.columns.index(name)
        return [row[index] for row in self.rows.values()]


def read_table(path: Path, *, key: str) -> Table:
    """Read a CSV file whose column `key` identifies each row. Raises TaskError for a file that is not such a table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            columns = tuple(next(lines, ()))
            if key not in columns:
                raise TaskError(f"{path.name}: no column {key!r}; the columns are {', '.join(columns) or 'none'}")
            index = columns.index(key)
            rows: dict[str, tuple[str, ...]] = {}
            for row in lines:
                if len(row) != len(columns):
                    raise TaskError(
                        f"{path.name}: line {lines.line_num} has {len(row)} values, should be {len(columns)}"
                    )
                # A repeated key would turn the intersection into a join that multiplies rows.
                # The text goes into the job's status, which the other party reads: it holds no value of the table.
                if not row[index] or row[index] in rows:
                    raise TaskError(f"{path.name}: line {lines.line_num}: {key!r} should be present and unique")
                rows[row[index]] = tuple(row)
    except FileNotFoundError as error:
        raise TaskError(f"{path.name} is not in the domain's directory {path.parent}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TaskError(f"{path.name} is not a CSV file in UTF-8: {error}") from error
    return Table(columns=columns, key=key, rows=rows)


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV, completely or not at all."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(table.columns)
    lines.writerows(table.rows.values())
    write_text(path, text.getvalue())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises TaskError when the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TaskError(f"{path.name} is not in the domain's directory {path.parent}") from error
    except ValueError as error:
        raise TaskError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TaskError(f"{path.name} should hold a JSON object")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object for people to read, completely or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash at any instant, never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
