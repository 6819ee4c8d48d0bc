#!/usr/bin/env bash
# Sees that the tests find a PostgreSQL and the proxy of deploy/compose: those that are here, or Debian's packages, which
# are installed if need be. They start them themselves. POSTGRES_BIN: the directory of a PostgreSQL's programs, used instead.
set -euo pipefail

if [[ -n ${POSTGRES_BIN:-} ]]; then
    "$POSTGRES_BIN/postgres" --version
fi
missing=()
if [[ -z ${POSTGRES_BIN:-} ]] && ! compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null && ! command -v postgres >/dev/null; then
    missing+=(postgresql)
fi
PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || missing+=(haproxy)
if ((${#missing[@]})); then
    command -v apt-get >/dev/null || { echo "these are not installed: ${missing[*]}" >&2; exit 1; }
    sudo=""; [[ $(id -u) == 0 ]] || sudo="sudo"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
