#!/bin/bash
# Makes an image of local files and gives it to all nodes of the lab, those of now and those to come.
#
#   image.sh DIRECTORY NAME [options of mkimage.py]      e.g. image.sh lab localhost/psi:1 --tree rootfs --entry /usr/bin/python3
#   image.sh DIRECTORY NAME --archive FILE               an archive in the OCI or Docker form that names the image already
. "$(dirname "$0")/lib.sh"
open_lab "$1"
name=$2; shift 2
mkdir -p "$lab/images"
file=$lab/images/$(printf %s "$name" | tr '/:' '__').tar
if [ "${1:-}" = --archive ]; then cp "$2" "$file"; else python3 "$here/mkimage.py" "$name" "$file" "$@"; fi
for space in /run/netns/"$id"-n*; do
    [ -e "$space" ] || continue
    "$bin/ctr" -a "/run/${space##*/}/containerd.sock" -n k8s.io images import "$file" > /dev/null 2>&1
done
