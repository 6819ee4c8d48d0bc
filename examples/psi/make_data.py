"""Make the two parties' tables from the copy of the UCI table that scikit-learn ships.

Only needed to reproduce data/: `pip install scikit-learn==1.9.1 && python make_data.py`.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

from sklearn.datasets import load_breast_cancer

DATA = Path(__file__).parent / "data"
SEED = 20
ALICE_ROWS = 420
BOB_ROWS = 460
COMMON_ROWS = 330  # alice and bob together hold 550 of the 569 people


def write_rows(path: Path, columns: list[str], rows: list[list[str]]) -> None:
    """Write one party's table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows(rows)


def main() -> None:
    """Split the table: alice holds the mean measurements, bob the worst ones and the diagnosis."""
    table = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in table.feature_names]
    mean = [index for index, name in enumerate(names) if name.startswith("mean_")]
    worst = [index for index, name in enumerate(names) if name.startswith("worst_")]

    # The public table has no person behind a row any more: the ids are ours.
    chance = random.Random(SEED)  # noqa: S311 - a reproducible shuffle, not a secret
    numbers = chance.sample(range(100_000), len(table.data))
    people = [
        (f"p{number:05d}", row, str(table.target_names[target]))
        for number, row, target in zip(numbers, table.data.tolist(), table.target.tolist(), strict=True)
    ]
    chance.shuffle(people)
    alice = people[:ALICE_ROWS]
    bob = people[ALICE_ROWS - COMMON_ROWS : ALICE_ROWS - COMMON_ROWS + BOB_ROWS]
    chance.shuffle(bob)

    write_rows(
        DATA / "alice" / "patients.csv",
        ["id", *(names[index] for index in mean)],
        [[person, *(repr(row[index]) for index in mean)] for person, row, _ in alice],
    )
    write_rows(
        DATA / "bob" / "diagnoses.csv",
        ["id", *(names[index] for index in worst), "diagnosis"],
        [[person, *(repr(row[index]) for index in worst), label] for person, row, label in bob],
    )


if __name__ == "__main__":
    main()
