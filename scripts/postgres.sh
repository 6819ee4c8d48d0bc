#!/usr/bin/env bash
# Sees that the tests find a PostgreSQL: one that is here, or Debian's package, which is installed if need be. They start
# it themselves.
set -euo pipefail

if ! compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null && ! command -v postgres >/dev/null; then
    command -v apt-get >/dev/null || { echo "there is no PostgreSQL: put its postgres into PATH" >&2; exit 1; }
    sudo=""; [[ $(id -u) == 0 ]] || sudo="sudo"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
fi
