"""Compare what the two parties computed privately with what the plain tables say.

Usage: verify.py DOMAIN_DIR, the directory that holds alice/ and bob/ with their inputs and results.
Exit code 0 when everything agrees, 1 when something does not, 2 for wrong usage. Needs only the standard library.
"""

from __future__ import annotations

import csv
import json
import sys
from fractions import Fraction
from pathlib import Path

KEY = "id"
LABEL = "diagnosis"
INPUTS = {"alice": "patients.csv", "bob": "diagnoses.csv"}
JOB_FILE = Path(__file__).parent / "job.json"

Row = dict[str, str]


class Difference(Exception):
    """A private result is not what the plain tables say."""


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_intersection(domain_dir: Path) -> dict[str, dict[str, Row]]:
    """Each party's plain rows of the shared keys; raises Difference unless both private results are exactly those."""
    tables = {
        domain: {row[KEY]: row for row in read_rows(domain_dir / domain / name)} for domain, name in INPUTS.items()
    }
    common = sorted(set.intersection(*(set(table) for table in tables.values())))
    for domain, table in tables.items():
        private = read_rows(domain_dir / domain / "intersection.csv")
        if private != [table[key] for key in common]:
            differing = set(common) ^ {row[KEY] for row in private}
            raise Difference(
                f"{domain}: the private intersection has {len(private)} rows, the plain one {len(common)}; "
                f"{len(differing)} keys are in one of them only"
            )
        print(f"{domain + ':':7}{len(common)} of {len(table)} rows are shared; private intersection = plain one")
    return {domain: {key: table[key] for key in common} for domain, table in tables.items()}


def check_group_means(domain_dir: Path, shared: dict[str, dict[str, Row]]) -> None:
    """Raise Difference unless both parties hold the group sizes and means of the plain joined table."""
    tasks = {task["alias"]: task for task in json.loads(JOB_FILE.read_text(encoding="utf-8"))["tasks"]}
    features = json.loads(tasks["group-means"]["task_input_config"])["features"]
    expected = {}
    for label in sorted({row[LABEL] for row in shared["bob"].values()}):
        keys = [key for key, row in shared["bob"].items() if row[LABEL] == label]
        means = {
            name: float(sum(Fraction(shared["alice"][key][name]) for key in keys) / len(keys)) for name in features
        }
        expected[label] = {"rows": len(keys), "means": means}
    for domain in INPUTS:
        private = json.loads((domain_dir / domain / "group_means.json").read_text(encoding="utf-8"))["groups"]
        if private != expected:
            raise Difference(f"{domain}: private group means {private} differ from the plain ones {expected}")
    sizes = ", ".join(f"{group['rows']} {label}" for label, group in expected.items())
    print(
        f"means: {len(features)} features in {len(expected)} groups ({sizes}); private means = plain ones, both sides"
    )


def main(arguments: list[str]) -> int:
    """Check a finished job's results; the exit code says whether all agree."""
    if len(arguments) != 1:
        print("usage: verify.py DOMAIN_DIR", file=sys.stderr)
        return 2
    domain_dir = Path(arguments[0])
    try:
        shared = check_intersection(domain_dir)
        check_group_means(domain_dir, shared)
    except Difference as difference:
        print(f"WRONG: {difference}")
        return 1
    except (OSError, ValueError, KeyError) as error:
        print(f"WRONG: a result is missing or unreadable: {type(error).__name__}: {error}")
        return 1
    print("verified: every private result equals the plain computation")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
