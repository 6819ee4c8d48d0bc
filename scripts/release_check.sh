#!/usr/bin/env bash
# Whether this tree can be released: builds sdist and wheel into dist/, looks into both, installs the wheel into an empty
# environment and runs a job there. The CHANGELOG must have a dated section of the version, below Unreleased.
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
for name in kusciajob/py.typed kusciajob/store/sqlite/schema/001_jobs.sql kusciajob/web/index.html kusciajob/web/page/main.js \
    kusciajob/web/vendor/preact.js kusciajob/web/vendor/LICENSE-preact "kusciajob-$version.dist-info/licenses/LICENSE" \
    "kusciajob-$version.dist-info/licenses/NOTICE"; do
    grep -qx "$name" "$work/wheel" || fail "the wheel lacks $name"
done
! grep -vE "^kusciajob(-$version\.dist-info)?/" "$work/wheel" || fail "the wheel has more than the package"

new_environment "$work/clean" "$PWD/$wheel"
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
"$work/clean/bin/kusciajob" run job.yaml --runtime simulated
echo "release-check: $version can be released, see dist/"
