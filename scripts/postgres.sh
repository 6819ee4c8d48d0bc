#!/usr/bin/env bash
# Sees that the tests find a PostgreSQL, the proxy of deploy/compose and, as root, what makes networks: those that are here,
# or Debian's packages, which are installed if need be. The tests start them themselves.
#   POSTGRES_BIN=<directory> scripts/postgres.sh     the programs of another PostgreSQL, which the tests use then
set -euo pipefail

if [[ -n ${POSTGRES_BIN:-} ]]; then
    "$POSTGRES_BIN/postgres" --version
fi
missing=()
if [[ -z ${POSTGRES_BIN:-} ]] && ! compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null && ! command -v postgres >/dev/null; then
    missing+=(postgresql)
fi
PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || missing+=(haproxy)
if [[ $(id -u) == 0 ]]; then
    PATH=$PATH:/usr/sbin:/sbin command -v nft >/dev/null || missing+=(nftables)
    PATH=$PATH:/usr/sbin:/sbin command -v ip >/dev/null || missing+=(iproute2)
fi
if ((${#missing[@]})); then
    command -v apt-get >/dev/null || { echo "these are not installed: ${missing[*]}" >&2; exit 1; }
    sudo=""; [[ $(id -u) == 0 ]] || sudo="sudo"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
