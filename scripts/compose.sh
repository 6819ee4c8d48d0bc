#!/usr/bin/env bash
# Sees that the test of deploy/compose finds Docker and its compose, and the programs that it makes images of: those that
# are here, or Debian's packages, which are installed if need be and this is root. The test starts a daemon of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(id -u) != 0 ]]; then
    echo "not root: the test of deploy/compose, which starts a Docker daemon of its own, is skipped" >&2
    exit
fi
scripts/postgres.sh
missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v docker-compose >/dev/null || missing+=(docker-compose)
if ((${#missing[@]})); then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
