#!/usr/bin/env bash
# Runs what needs no server of its own (tests/unit, tests/conformance) on newer Pythons than 3.11.
#
#   test_pythons.sh                  the newest that this machine has: what runs on it and on 3.11 runs in between
#   test_pythons.sh VERSION...       those, such as 3.12 3.13
#
# Each gets an environment of its own, .venv-<version>, kept for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."

works() { "$1" -c "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (${2/./, }))" 2>/dev/null; }

find_python() { # of that version: on the PATH, else among those that pyenv manages
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if works "$candidate" "$1"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

newest() {
    local version
    for version in 3.14 3.13 3.12; do
        if find_python "$version" > /dev/null; then
            echo "$version"
            return
        fi
    done
    echo "there is no newer Python than 3.11 on this machine" >&2
}

for version in "${@:-$(newest)}"; do
    [[ -n $version ]] || continue
    if ! python=$(find_python "$version"); then
        echo "Python $version: not on this machine" >&2
        exit 1
    fi
    venv=.venv-$version
    if [[ ! -e $venv/.ready || setup.cfg -nt $venv/.ready || $CONSTRAINTS -nt $venv/.ready ]]; then
        "$python" -m venv --clear "$venv"
        PIP_CONSTRAINT=$CONSTRAINTS "$venv/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev]'
        touch "$venv/.ready"
    fi
    "$venv/bin/python" --version
    "$venv/bin/python" -m pytest -m "not postgres" tests/unit tests/conformance --numprocesses 4 --dist loadfile
done
