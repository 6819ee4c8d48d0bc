"""A version to come: `python -m tests.support.next_version python -m kusciajob …` runs a command as that version would.

Its schema is one further: tables have more columns, statuses more fields, commits are another function, and servers
tell each other more. Servers of the present version can go on using that schema.
"""

import sys
from collections.abc import Sequence

from kusciajob.cli.main import main
from kusciajob.model.status import JobStatus
from kusciajob.store import packing
from kusciajob.store.postgres import changes, schema

LAUNCHER = (sys.executable, "-m", "tests.support.next_version")
_PRESENT = tuple(schema.migrations())
_ADDED = """-- Servers that know schema 1 or a later one can use this one.
ALTER TABLE writer ADD COLUMN later text;
ALTER TABLE log ADD COLUMN later text NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN later text NOT NULL DEFAULT '';
"""


def scripts() -> Sequence[str]:
    """Those of the present version, and one."""
    function = _PRESENT[0][_PRESENT[0].index("CREATE FUNCTION commit_group_1(") :]
    function = function.replace("commit_group_1", "commit_group_2").replace("'news %s %s'", "'news %s %s and more'")
    return [*_PRESENT, _ADDED + function]


def pack_status(status: JobStatus) -> bytes:
    """With a field that the present version does not know."""
    data: bytes = packing.plain(packing.pack_status(status))
    return b'{"later":[1],' + data[1:]


def run() -> None:
    schema.migrations = scripts
    changes.COMMIT = changes.COMMIT.replace("commit_group_1", "commit_group_2")
    changes.pack_status = pack_status  # type: ignore[attr-defined]
    sys.argv = ["kusciajob", *sys.argv[sys.argv.index("kusciajob") + 1 :]]
    main()


if __name__ == "__main__":
    run()
