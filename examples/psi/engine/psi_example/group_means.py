"""Private group means: one party has measurements, the other one says which group each row belongs to.

Both learn the size of the two groups and each measurement's mean in them, and nothing about a single row:
the label party sends its labels as Paillier encryptions of 0 and 1; the feature party multiplies them with
its measurements and adds up under encryption; only the sums are decrypted. What travels in the clear (totals,
sums, sizes) follows from the result. Both parties must follow the protocol; the rows are paired in key order.

Settings: `input` (file of the same keys on both sides), `key`, `features` (columns), `label` (column with two
values), `min_group_rows` (default 10: a mean over fewer rows says too much about each), `output`, `connect_seconds`.
"""

from __future__ import annotations

import hashlib
import time
from decimal import Decimal, InvalidOperation
from typing import Any

from psi_example.files import Table, read_table, write_json
from psi_example.paillier import KEY_BITS, PublicKey, generate_key
from psi_example.peer import Peer, dial, listen
from psi_example.task import Task, TaskError, run_program

PORT_NAME = "means"
DECIMALS = 9
MAX_ABSOLUTE = 10**15


def read_features(table: Table, names: list[str]) -> list[list[int]]:
    """The named columns as whole numbers of 10^-DECIMALS; raises TaskError for a value that is not one exactly."""
    features = []
    for name in names:
        column = []
        for row, text in enumerate(table.column(name), start=1):
            try:
                given = Decimal(text)
                number = given.quantize(Decimal(1).scaleb(-DECIMALS))
                exact = number == given and abs(number) <= MAX_ABSOLUTE
            except InvalidOperation:
                exact = False
            if not exact:
                raise TaskError(
                    f"column {name!r}, row {row}: should be a number up to {MAX_ABSOLUTE} "
                    f"with at most {DECIMALS} decimals"
                )
            column.append(int(number.scaleb(DECIMALS)))
        features.append(column)
    return features


def compute_with_features(peer: Peer, table: Table, names: list[str]) -> dict[str, Any]:
    """The feature party's part: add up its measurements over the encrypted labels."""
    features = read_features(table, names)
    peer.send(rows=hash_keys(table), features=names, totals=[sum(column) for column in features])
    modulus, encrypted = peer.receive("n", "labels")
    public, labels = PublicKey(int(modulus, 16)), [int(value, 16) for value in encrypted]
    if public.n.bit_length() != KEY_BITS or len(labels) != len(table.rows):
        raise TaskError(f"the other party sent {len(labels)} labels under a {public.n.bit_length()} bit key")
    peer.send(sums=[f"{public.encrypted_sum(labels, column):x}" for column in features])
    (result,) = peer.receive("result")
    return dict(result)


def compute_with_labels(peer: Peer, table: Table, label: str, *, min_group_rows: int) -> dict[str, Any]:
    """The label party's part: encrypt the labels, decrypt the sums, work out the means."""
    labels = table.column(label)
    groups = sorted(set(labels))
    if len(groups) != 2:
        raise TaskError(f"column {label!r} should hold two different values, it holds {len(groups)}")
    sizes = {group: labels.count(group) for group in groups}
    if min(sizes.values()) < min_group_rows:
        raise TaskError(f"a group has fewer than {min_group_rows} rows; a mean over so few would reveal them")
    rows, names, totals = peer.receive("rows", "features", "totals")
    if rows != hash_keys(table):
        raise TaskError("the two inputs do not hold the same keys; both should be the output of one intersection")

    key = generate_key()
    encrypted = [f"{key.encrypt(int(each == groups[1])):x}" for each in labels]
    peer.send(n=f"{key.public.n:x}", labels=encrypted)
    (answers,) = peer.receive("sums")
    sums = [key.decrypt(int(answer, 16)) for answer in answers]
    by_group = {groups[0]: [total - part for total, part in zip(totals, sums, strict=True)], groups[1]: sums}
    result = {
        group: {
            "rows": sizes[group],
            "means": {
                name: part / (sizes[group] * 10**DECIMALS) for name, part in zip(names, by_group[group], strict=True)
            },
        }
        for group in groups
    }
    peer.send(result=result)
    return result


def hash_keys(table: Table) -> str:
    """The same text on both sides exactly when both hold the same keys in the same order."""
    return hashlib.sha256("\n".join(table.rows).encode()).hexdigest()


def compute_group_means(task: Task) -> None:
    """Write the agreed result, the same on both sides: per group its size and the mean of each feature."""
    started = time.monotonic()
    table = read_table(task.file("input"), key=task.text("key"))
    if not table.rows:
        raise TaskError("the input has no rows: the parties share no keys, so there is nothing to average")
    wait_seconds = task.number("connect_seconds", 30)
    match task.me.role:
        case "features":
            with listen(task, PORT_NAME, wait_seconds=wait_seconds) as peer:
                groups = compute_with_features(peer, table, task.texts("features"))
        case "labels":
            with dial(task, PORT_NAME, wait_seconds=wait_seconds) as peer:
                groups = compute_with_labels(
                    peer, table, task.text("label"), min_group_rows=task.number("min_group_rows", 10)
                )
        case role:
            raise TaskError(f"role {role!r} of {task.me.domain_id} should be 'features' or 'labels'")
    write_json(
        task.file("output", "group_means.json"),
        {"rows": len(table.rows), "groups": groups, "seconds": round(time.monotonic() - started, 3)},
    )
    print(f"group means over {len(table.rows)} rows computed with {task.peer.domain_id}")


def main() -> None:
    """Entry point of psi-group-means."""
    run_program(compute_group_means)
