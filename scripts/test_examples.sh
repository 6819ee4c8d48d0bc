#!/usr/bin/env bash
# Follows the README of each example of tests (examples/testing), in a copy of its folder alone and an environment of its
# own, into which this tree is installed as a wheel.
#   scripts/test_examples.sh             Python, Java and Go
#   scripts/test_examples.sh python …    only these
# Maven with a JDK, and Go, come by apt where they are not here. Exit 1 if one cannot be had, or an example fails.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
top=$PWD
examples=("$@")
(($#)) || examples=(python java go)

fail() {
    echo "test-examples: $1" >&2
    exit 1
}

by_apt() { # what is needed, then its packages
    command -v apt-get >/dev/null || fail "$1 is needed, and there is no apt-get to install it with"
    local sudo=""
    [[ $(id -u) == 0 ]] || sudo="sudo"
    echo "installing ${*:2}" >&2
    $sudo apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${@:2}" >&2
}

# From 1.21 on, Go fetches the version that go.mod names.
is_new_enough() { [[ $(go version) =~ go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21)); }

need_python() { :; }
need_java() { command -v mvn >/dev/null && command -v javac >/dev/null || by_apt "Maven with a JDK, 17 or newer," maven default-jdk-headless; }
need_go() {
    command -v go >/dev/null || by_apt "Go 1.21 or newer" golang-go
    is_new_enough || fail "Go 1.21 or newer is needed, from https://go.dev/dl; here is: $(go version)"
}

commands_of() { # what its README says to type
    awk '/^```sh$/ {inside = 1; next} /^```$/ {if (inside) exit} inside' "$1/README.md"
}

for example in "${examples[@]}"; do
    [[ -e examples/testing/$example/README.md ]] || fail "there is no example $example"
    "need_$example"
done

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
"$python" -m venv "$work/tools"
"$work/tools/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" . >&2
rm -rf build
# The wheel is found before whatever an index has, and no other version will do.
version=$(basename "$work"/kusciajob-*.whl | cut -d- -f2)
{ cat "$top/scripts/constraints.txt"; echo "kusciajob==$version"; } >"$work/constraints.txt"
export PIP_CONSTRAINT=$work/constraints.txt PIP_FIND_LINKS="$work ${PIP_FIND_LINKS:-}" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

for example in "${examples[@]}"; do
    echo "examples/testing/$example, copied to an empty place:"
    cp -r "examples/testing/$example" "$work/$example"
    rm -rf "$work/$example/target" "$work/$example/.pytest_cache"
    "$python" -m venv "$work/venv-$example"
    commands=$(commands_of "$work/$example")
    [[ $commands == *kusciajob* ]] || fail "the README of $example does not say how to install kusciajob"
    (cd "$work/$example" && PATH="$work/venv-$example/bin:$PATH" bash -euxo pipefail -c "$commands") || fail "$example failed"
done
