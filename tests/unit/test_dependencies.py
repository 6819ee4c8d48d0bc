"""What is installed: floors without known holes, exact versions for CI, and a question to who knows of holes."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

TOP = Path(__file__).parents[2]
AUDIT = TOP / "scripts" / "audit.py"
FLOORS = {"aiohttp": "3.14.5", "cryptography": "50", "pytest": "9.0.3"}
"""Below them holes are known."""


def requirements() -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = "\n".join([setup["options"]["install_requires"], *extras.values()])
    # The development tools name the other extras.
    return [Requirement(line) for line in lines.splitlines() if line and not line.startswith("kusciajob")]


def constraints() -> dict[str, Version]:
    lines = (TOP / "scripts" / "constraints.txt").read_text().splitlines()
    exact = [line.partition("==") for line in lines if not line.startswith("#")]
    return {_normal(name): Version(version) for name, _, version in exact}


def test_ci_installs_an_exact_version_of_every_dependency() -> None:
    exact = constraints()
    for requirement in requirements():
        assert exact[_normal(requirement.name)] in requirement.specifier, requirement


def test_versions_with_known_holes_are_not_admitted() -> None:
    by_name = {requirement.name: requirement for requirement in requirements()}
    for name, floor in FLOORS.items():
        assert not by_name[name].specifier.contains("0.1")
        floors = [Version(part.version) for part in by_name[name].specifier if part.operator == ">="]
        assert floors >= [Version(floor)], by_name[name]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([{"name": "aiohttp", "version": "3.13", "vulns": []}], 0, "no known vulnerabilities in 1 packages"),
        (
            [{"name": "aiohttp", "version": "3.13", "vulns": [{"id": "CVE-1", "fix_versions": ["3.14.5"]}]}],
            1,
            "aiohttp 3.13: CVE-1, mended in 3.14.5",
        ),
        ([{"name": "aiohttp", "skip_reason": "not found"}], 0, "not done, the service cannot be asked here"),
        (None, 0, "not done, the service cannot be asked here (no such host)"),
    ],
)
def test_the_audit_fails_for_holes_only(tmp_path: Path, answer: object, code: int, said: str) -> None:
    output = f"print({json.dumps({'dependencies': answer})!r})" if answer else "raise SystemExit('no such host')"
    (tmp_path / "pip_audit.py").write_text(output)
    audit = subprocess.run(
        [sys.executable, str(AUDIT)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (audit.returncode, said in audit.stdout) == (code, True), audit.stdout


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
