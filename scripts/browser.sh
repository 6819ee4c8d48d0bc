#!/usr/bin/env bash
# Prints the program of a Chromium: that of CHROMIUM, one that is here, or Debian's package, which is installed if need be.
set -euo pipefail

find_browser() { command -v "${CHROMIUM:-chromium}" || command -v google-chrome; }

if ! find_browser; then
    command -v apt-get >/dev/null || { echo "there is no Chromium: name one in CHROMIUM" >&2; exit 1; }
    sudo=""; [[ $(id -u) == 0 ]] || sudo="sudo"
    $sudo apt-get update -qq >&2
    $sudo apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >&2
    find_browser
fi
