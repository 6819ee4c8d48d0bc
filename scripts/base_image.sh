#!/bin/sh
# Print the name of an image with Python 3.11 that others can be built on.
# Usage: base_image.sh [NAME]       NAME is a public image: python:3.11-slim if it is not given
# It is NAME where that is here or can be pulled; else localhost/NAME, made from Debian's packages without a registry,
# which needs root and debootstrap (installed by apt). REGISTRY=no does not try to pull.
set -eu

name=${1:-python:3.11-slim}
made=localhost/$name
suite=bookworm
here=$(cd "$(dirname "$0")" && pwd)
engine=$("$here/container_engine.sh")

present() { $engine image inspect "$1" >/dev/null 2>&1; }

for image in "$made" "$name"; do
    if present "$image"; then
        echo "$image"
        exit
    fi
done
if [ "${REGISTRY:-yes}" != no ] && timeout 300 $engine pull --quiet "$name" >/dev/null 2>&1; then
    echo "$name"
    exit
fi
echo "$name cannot be pulled: making $made from Debian $suite (200 MB to download)" >&2
if [ "$(id -u)" != 0 ]; then
    echo "error: that needs root; or name an image that is here: BASE=..." >&2
    exit 1
fi
command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -m 0755 "$work/tree" # its root's mode becomes that of /
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$work/tree" >"$work/log" 2>&1 || {
    tail -5 "$work/log" >&2
    exit 1
}
# Who reads through a proxy with an authority of its own can do so in the image as well.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$work/tree/etc/ssl/certs/ca-certificates.crt"
fi
(cd "$work/tree" && rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc usr/share/man usr/share/locale dev/* debootstrap)
tar -C "$work/tree" --numeric-owner -c . | $engine import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
    --change 'CMD ["python3"]' - "$made" >&2
echo "$made"
