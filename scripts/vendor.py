#!/usr/bin/env python3
"""Write the page's libraries into kusciajob/web/vendor: fetched from npm, with their licences and checksums.

scripts/vendor.py            write the versions that vendor.json names, and their checksums
scripts/vendor.py --check    fetch them and fail where one differs from what is in the tree

npm itself checks what it fetches against the registry's checksum. A module's bare imports are replaced by paths, as
browsers want them; nothing else is changed.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "kusciajob" / "web" / "vendor"
LIST = VENDOR / "vendor.json"

MODULES = {
    "preact.js": ("preact", "dist/preact.mjs"),
    "preact-hooks.js": ("preact", "hooks/dist/hooks.mjs"),
    "htm.js": ("htm", "dist/htm.module.js"),
    "signals-core.js": ("@preact/signals-core", "dist/signals-core.module.js"),
    "signals.js": ("@preact/signals", "dist/signals.module.js"),
    "dagre.js": ("@dagrejs/dagre", "dist/dagre.esm.js"),
}
"""What the page imports, and where its package has it. @dagrejs/graphlib is a part of dagre.js: only its licence is
fetched."""
TYPES = {
    "preact.d.ts": "export * from 'preact';",
    "preact-hooks.d.ts": "export * from 'preact/hooks';",
    "htm.d.ts": "export { default } from 'htm';",
    "signals-core.d.ts": "export * from '@preact/signals-core';",
    "signals.d.ts": "export * from '@preact/signals';",
    "dagre.d.ts": "export * from '@dagrejs/dagre';",
}
"""For the type checker, which has the packages: scripts/page."""
IMPORTS = {
    "preact": "./preact.js",
    "preact/hooks": "./preact-hooks.js",
    "@preact/signals-core": "./signals-core.js",
}
_BARE_IMPORT = re.compile(rb'\b(from|import)(\s*)"([^"./][^"]*)"')
_SOURCE_MAP = re.compile(rb"\s*//# sourceMappingURL=.*\s*$")


def fetch(package: str, version: str, directory: Path) -> Path:
    """Fetch a package and unpack it. Raises CalledProcessError."""
    directory.mkdir()
    done = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", f"{package}@{version}"],  # noqa: S607  # as the user has it
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    with tarfile.open(directory / done.stdout.strip().splitlines()[-1]) as archive:
        archive.extractall(directory, filter="data")
    return directory / "package"


def for_browsers(module: bytes) -> bytes:
    """The module with paths for bare imports, and without the name of a source map that is not here."""

    def path_of(found: re.Match[bytes]) -> bytes:
        return found[1] + found[2] + b'"' + IMPORTS[found[3].decode()].encode() + b'"'

    return _SOURCE_MAP.sub(b"", _BARE_IMPORT.sub(path_of, module)) + b"\n"


def fetched(packages: dict[str, str]) -> dict[str, bytes]:
    """Every file of the directory but the list, by its name."""
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as work:
        places = {
            package: fetch(package, version, Path(work, package.replace("/", "-")))
            for package, version in packages.items()
        }
        for name, (package, path) in MODULES.items():
            files[name] = for_browsers((places[package] / path).read_bytes())
        files.update({name: f"{text}\n".encode() for name, text in TYPES.items()})
        for package, place in places.items():
            files[f"LICENSE-{package.removeprefix('@').replace('/', '-')}"] = (place / "LICENSE").read_bytes()
    return files


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 where something differs")
    is_check = parser.parse_args().check
    packages = json.loads(LIST.read_text())["packages"]
    files = fetched(packages)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    listed = json.dumps({"packages": packages, "files": sums}, indent=2) + "\n"
    wanted = {**files, LIST.name: listed.encode()}
    there = {path.name: path.read_bytes() for path in VENDOR.iterdir() if path.is_file()}
    different = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if is_check:
        for name in different:
            print(f"kusciajob/web/vendor/{name} is not what npm has: run `make vendor`", file=sys.stderr)
        return 1 if different else 0
    for name in there.keys() - wanted.keys():
        (VENDOR / name).unlink()
    for name, content in wanted.items():
        (VENDOR / name).write_bytes(content)
    print(f"wrote {len(files)} files: {', '.join(different) or 'none is new'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
