#!/bin/sh
# Print the command that builds images and runs containers here: docker or podman.
# Usage: container_engine.sh        CONTAINER_ENGINE=... names it; else docker where its daemon answers, else podman
# Installs podman by apt where there is neither and this is root.
# The command may have options: $(container_engine.sh) must be used without quotation marks.
set -eu

# crun, which podman takes by default, refuses machines whose control groups are of both versions at once.
is_hybrid() { [ -e /sys/fs/cgroup/unified/cgroup.controllers ]; }

tell() {
    [ "$1" = docker ] && echo docker && return
    # Podman starts without it, and makes no network.
    PATH="$PATH:/usr/sbin:/sbin" command -v iptables >/dev/null || install iptables
    if is_hybrid; then
        command -v runc >/dev/null || install runc
        echo "podman --runtime $(command -v runc)"
    else
        echo podman
    fi
}

install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "error: a container engine is needed: install $1, or start docker's daemon" >&2
        exit 1
    fi
    echo "installing $*" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

answers() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }

for engine in ${CONTAINER_ENGINE:-docker podman}; do
    if answers "$engine"; then
        tell "$engine"
        exit
    fi
done
if [ -n "${CONTAINER_ENGINE:-}" ]; then
    echo "error: CONTAINER_ENGINE is $CONTAINER_ENGINE, and \`$CONTAINER_ENGINE info\` fails" >&2
    exit 1
fi
install podman buildah crun netavark aardvark-dns
answers podman || { echo "error: podman is installed, and \`podman info\` fails: $(podman info 2>&1 | tail -1)" >&2; exit 1; }
tell podman
