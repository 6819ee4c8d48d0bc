#!/bin/bash
# Takes a node away, with its kubelet, its containerd and every container.
#
#   node-down.sh DIRECTORY NUMBER [--crash]      --crash: as if its machine had lost power; the API server is not told
. "$(dirname "$0")/lib.sh"
open_lab "$1"
number=$2 node=n$2 space=$id-n$2
stop "$node-kubelet" KILL
stop "$node-containerd" KILL
# What is in the node's cgroups, and the shims that hold its socket directory.
members() {
    find /sys/fs/cgroup -path "*/$id-$node*" -name cgroup.procs -exec cat {} + 2> /dev/null | sort -un
    for pid in /proc/[0-9]*; do
        { tr '\0' ' ' < "$pid/cmdline"; } 2> /dev/null | grep -q "^$bin/containerd-shim-runc-v2 .*/run/$space/" && echo "${pid#/proc/}"
    done
    true
}
for _ in 1 2 3 4 5; do
    found=$(members)
    [ -n "$found" ] || break
    kill -KILL $found 2> /dev/null || true
    sleep 0.2
done
if [ "${3:-}" != --crash ]; then
    kubectl delete node "$node" --ignore-not-found --wait=false > /dev/null 2>&1 || true
fi
awk -v a="$lab/$node/" -v b="/run/$space/" 'index($2, a) == 1 || index($2, b) == 1 {print $2}' /proc/mounts | sort -r |
    while read -r mounted; do umount -l "$mounted" 2> /dev/null || true; done
for name in $(ls /run/netns 2> /dev/null | grep '^cni-' || true); do
    # A pod's namespace says whose it is by its address only.
    ip -n "$name" -o addr 2> /dev/null | grep -q " 10.78.$number\." && ip netns del "$name" || true
done
[ ! -e "/run/netns/$space" ] || ip netns del "$space"
[ ! -e "/run/netns/$hub" ] || ip -n "$hub" route del "10.78.$number.0/24" 2> /dev/null || true
find /sys/fs/cgroup -depth -type d -path "*/$id-$node*" -exec rmdir {} + 2> /dev/null || true
rm -rf "/run/$space"
[ "${3:-}" = --crash ] || rm -rf "${lab:?}/$node"
