#!/bin/sh
# Build an image from a Containerfile.
# Usage: build_image.sh NAME DIRECTORY        BASE=... is the image that it is built on, else see base_image.sh
# An image whose files have not changed is not built again: the engine keeps each step.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 NAME DIRECTORY" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
engine=$("$here/container_engine.sh")
base=${BASE:-$("$here/base_image.sh")}

echo "building $1 on $base" >&2
# The host's network: what this machine reaches, the build reaches too.
$engine build --network host --build-arg "BASE=$base" --file "$2/Containerfile" --tag "$1" "$2" >&2
