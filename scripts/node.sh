#!/usr/bin/env bash
# Prints the program npm of a Node.js that is new enough: one that is here, or Debian's package, which is installed if need be.
set -euo pipefail

find_npm() {
    command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' && command -v npm
}

if ! find_npm; then
    command -v apt-get >/dev/null || { echo "there is no Node.js of version 20 or newer with npm: install one" >&2; exit 1; }
    sudo=""; [[ $(id -u) == 0 ]] || sudo="sudo"
    $sudo apt-get update -qq >&2
    $sudo apt-get install -y -qq --no-install-recommends nodejs npm >&2
    find_npm || { echo "the Node.js of this system is older than version 20: install a newer one" >&2; exit 1; }
fi
