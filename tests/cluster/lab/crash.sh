#!/bin/bash
# Kills a program of the control plane as if it had crashed, and returns once it is gone; `up.sh` starts it again.
#
#   crash.sh DIRECTORY NAME      e.g. crash.sh lab kube-apiserver
. "$(dirname "$0")/lib.sh"
open_lab "$1"
stop "$2" KILL
