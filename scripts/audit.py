"""Ask the public database of vulnerabilities about the versions in constraints.txt; say so where it cannot be asked.

Exit code 0: nothing is known, or nobody could be asked. 1: a version has a known hole.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
SECONDS = 90


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        answer = subprocess.run([*command, *options], capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return _undone(f"no answer within {SECONDS} s")
    try:
        dependencies: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        return _undone((answer.stderr.strip().splitlines() or ["no answer"])[-1][:200])
    found = [dependency for dependency in dependencies if dependency.get("vulns")]
    for dependency in found:
        for hole in dependency["vulns"]:
            mended = ", ".join(hole["fix_versions"]) or "no version yet"
            print(f"{dependency['name']} {dependency['version']}: {hole['id']}, mended in {mended}")
    if found:
        return 1
    unknown = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if unknown:
        return _undone(f"{len(unknown)} of {len(dependencies)} packages are unknown to the service, e.g. {unknown[0]}")
    print(f"audit: no known vulnerabilities in {len(dependencies)} packages")
    return 0


def _undone(reason: str) -> int:
    print(f"audit: not done, the service cannot be asked here ({reason})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
