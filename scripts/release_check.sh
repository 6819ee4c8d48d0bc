#!/usr/bin/env bash
# Whether this tree can be released: builds sdist and wheel into dist/, looks into both, installs the wheel into empty
# environments, for the client alone and for the server, and runs a job there. The CHANGELOG must have a dated section of
# the version, below Unreleased.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
constraints="$PWD/scripts/constraints.txt"

fail() {
    echo "release-check: $1" >&2
    exit 1
}

version=$("$python" -c 'import re; print(re.search(r"__version__ = \"(.+)\"", open("kusciajob/__init__.py").read())[1])')
sections=$(grep -m 2 -E '^## \[' CHANGELOG.md)
[[ $(sed -n 1p <<<"$sections") == "## [Unreleased]" ]] || fail "CHANGELOG.md does not begin with a section [Unreleased]"
[[ $(sed -n 2p <<<"$sections") =~ ^"## [$version] - "[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] ||
    fail "kusciajob/__init__.py has version $version, the newest section of CHANGELOG.md is: $(sed -n 2p <<<"$sections")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
new_environment() { # its path, then what to install there
    "$python" -m venv "$1"
    PIP_CONSTRAINT=$constraints "$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

rm -rf dist build
new_environment "$work/tools" build
"$work/tools/bin/python" -m build --outdir dist . >"$work/build.log" 2>&1 || { cat "$work/build.log"; fail "the build failed"; }
sdist=dist/kusciajob-$version.tar.gz
wheel=dist/kusciajob-$version-py3-none-any.whl
[[ -e $sdist && -e $wheel ]] || fail "dist/ has $(ls dist | xargs), not the sdist and the wheel of $version"

tar -tzf "$sdist" >"$work/sdist"
for name in LICENSE NOTICE CHANGELOG.md README.md README.zh-CN.md Makefile scripts/gen_proto.sh proto/released.binpb; do
    grep -qx "kusciajob-$version/$name" "$work/sdist" || fail "the sdist lacks $name"
done
for tree in proto:.proto tests:.py docs:.md examples:.yaml; do
    grep -q "^kusciajob-$version/${tree%:*}/.*${tree#*:}\$" "$work/sdist" || fail "the sdist lacks ${tree%:*}/"
done

"$python" -m zipfile --list "$wheel" | awk 'NR > 1 {print $1}' >"$work/wheel"
page=$(find kusciajob/web -type f -not -path '*/__pycache__/*')
[[ $(wc -l <<<"$page") -gt 30 ]] || fail "the tree has hardly any files of the page: $(xargs <<<"$page")"
for name in kusciajob/py.typed kusciajob/store/sqlite/schema/001_jobs.sql $page \
    "kusciajob-$version.dist-info/licenses/LICENSE" "kusciajob-$version.dist-info/licenses/NOTICE"; do
    grep -qx "$name" "$work/wheel" || fail "the wheel lacks $name"
done
! grep -vE "^kusciajob(-$version\.dist-info)?/" "$work/wheel" || fail "the wheel has more than the package"

new_environment "$work/client" "$PWD/$wheel"
(cd "$work" && client/bin/python -c 'import kusciajob.client, kusciajob.wire.jobfile') ||
    fail "the client library needs more than the package asks for"
told=$("$work/client/bin/kusciajob" --version 2>&1) && fail "the command line needs no extra: $told"
[[ $told == *"kusciajob[server]"* ]] || fail "where only the client is installed, the command line says: $told"
new_environment "$work/clean" "$PWD/$wheel[server]"
mkdir "$work/elsewhere" && cd "$work/elsewhere" # where the tree cannot be imported
told=$("$work/clean/bin/kusciajob" --version)
[[ $told == *"$version"* ]] || fail "kusciajob --version says $told, not $version"
cat >job.yaml <<'JOB'
job_id: release-check
initiator: alice
tasks:
  - alias: first
    app_image: any
    parties: [{domain_id: alice}, {domain_id: bob}]
  - alias: second
    app_image: any
    parties: [{domain_id: bob}]
    dependencies: [first]
JOB
"$work/clean/bin/kusciajob" run job.yaml --runtime simulated --data-dir "$work/data"

# The page is served, with all that its HTML and its modules name.
"$work/clean/bin/kusciajob" serve --runtime simulated --data-dir "$work/data" --grpc-port 0 --http-port 0 2>"$work/serve.log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
"$work/clean/bin/python" - "$work/serve.log" <<'PYTHON' || { cat "$work/serve.log"; fail "the page is not served"; }
import re
import sys
import time
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

deadline = time.monotonic() + 60
while not (found := re.search(r"^ *page +(\S+)$", Path(sys.argv[1]).read_text(), re.MULTILINE)):
    assert time.monotonic() < deadline, "the server does not tell the page's address"
    time.sleep(0.1)
todo, seen = [found[1]], set()
while todo:
    address = todo.pop()
    seen.add(address)
    with urlopen(address, timeout=60) as answer:
        assert answer.status == 200, f"{address}: {answer.status}"
        text = answer.read().decode()
    names = re.findall(r'(?:src|href)="([^"]+)"', text) if address.endswith("/") else []
    if address.endswith(".js"):
        names = re.findall(r"^(?:import|export)\b[^'\"]*['\"](\.[^'\"]+\.js)['\"]", text, re.MULTILINE)
    todo += {urljoin(address, name) for name in names} - seen - set(todo)
assert len(seen) > 20, f"the page has hardly any files: {sorted(seen)}"
print(f"release-check: {found[1]} is served, {len(seen)} files")
PYTHON
kill "$server"
wait "$server" || fail "the server did not stop in order"
echo "release-check: $version can be released, see dist/"
