#!/usr/bin/env bash
# Runs what needs no server of its own (tests/unit, tests/conformance) on every Python after 3.11 that this machine has.
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

for version in 3.12 3.13 3.14; do
    if ! python=$(find_python "$version"); then
        echo "Python $version: not on this machine"
        continue
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
