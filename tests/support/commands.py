"""Commands of the system, run to their end in surroundings of their own."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.program import Finished

END_SECONDS = 120


class Commands:
    """Runs commands with these variables beside the tests' own, in a directory."""

    def __init__(self, variables: Mapping[str, str], directory: Path | None = None) -> None:
        self._environment = {**os.environ, **variables}
        self._directory = directory

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """What a command prints that succeeds."""
        done = self.try_to(*command, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_to(self, *command: str | Path, stdin: str = "") -> Finished:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
            check=False,
            cwd=self._directory,
            env=self._environment,
        )
