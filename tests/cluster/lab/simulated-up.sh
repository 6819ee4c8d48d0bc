#!/bin/bash
# Adds simulated nodes to a lab whose scheduler runs: they run nothing, but say so of any number of pods (simulated_nodes.py).
#
#   simulated-up.sh DIRECTORY NUMBER      PYTHON: an interpreter that has what kusciajob needs
. "$(dirname "$0")/lib.sh"
open_lab "$1"
in= inner=$port kubelet=$((port + 5))
if [ -e "/run/netns/$hub" ]; then in="--in $hub" inner=6443 kubelet=10260; fi
certificate simulated /O=system:masters/CN=simulated-nodes IP:127.0.0.1
kubeconfig simulated "https://127.0.0.1:$inner"
cd "$here/../../.."
start simulated $in "${PYTHON:-python3}" -m tests.cluster.lab.simulated_nodes "$lab/simulated.kubeconfig" "$pki/simulated" \
    "$kubelet" "$2"
until_ok 60 kubectl wait --for=condition=Ready node --selector kusciajob-lab/simulated --timeout=10s
