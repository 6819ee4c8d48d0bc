#!/bin/bash
# Asks the lab's etcd past the API server: what would take minutes otherwise, or cannot be done by it.
#
#   etcd.sh DIRECTORY < requests      each line: a path of its JSON gateway, a blank, and a body
. "$(dirname "$0")/lib.sh"
open_lab "$1"
enter=()
[ ! -e "/run/netns/$hub" ] || enter=(nsenter "--net=/run/netns/$hub" --)
"${enter[@]}" python3 "$here/etcd.py" "http://127.0.0.1:$((port + 1))"
