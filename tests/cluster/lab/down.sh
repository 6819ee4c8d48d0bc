#!/bin/bash
# Stops all of a lab, its nodes first.
#
#   down.sh DIRECTORY [--purge]      --purge: its data goes, too
. "$(dirname "$0")/lib.sh"
open_lab "$1"
for space in /run/netns/"$id"-n*; do
    [ ! -e "$space" ] || "$here/node-down.sh" "$lab" "${space##*-n}" --crash
done
for name in simulated coredns expose kube-scheduler kube-controller-manager kube-apiserver etcd; do stop $name; done
[ ! -e "/run/netns/$hub" ] || ip netns del "$hub"
if [ "${2:-}" = --purge ]; then
    rm -rf "$lab"/{etcd,pki,run,certs,images,Corefile,resolv.conf} "$lab"/*.kubeconfig "$lab"/n[0-9]*
fi
