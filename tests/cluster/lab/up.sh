#!/bin/bash
# Starts the control plane of a lab: etcd, API server, controller manager and scheduler.
#
#   up.sh DIRECTORY [--nodes | --api-only]
#
# The API server is https://127.0.0.1:$KUBELAB_PORT, DIRECTORY/admin.kubeconfig has full rights. With --nodes it stands in a
# network namespace of its own, to which node-up.sh adds nodes (that needs root). With --api-only nothing but the API server
# and etcd. Called again, it starts what does not run, and keeps the data.
# API_FLAGS, CONTROLLER_FLAGS and SCHEDULER_FLAGS are given to the programs.
. "$(dirname "$0")/lib.sh"
open_lab "$1"
in= bind=127.0.0.1 inner=$port
if [ "${2:-}" = --nodes ]; then
    in="--in $hub" bind=0.0.0.0 inner=6443
    if [ ! -e "/run/netns/$hub" ]; then
        ip netns add "$hub"
        ip -n "$hub" link set lo up
        ip -n "$hub" link add br0 type bridge
        ip -n "$hub" addr add $hub_address/24 dev br0
        ip -n "$hub" link set br0 up
    fi
fi

authority
certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$hub_address,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
certificate admin /O=system:masters/CN=admin
certificate kubelet-client /O=system:masters/CN=apiserver
certificate kube-controller-manager /CN=system:kube-controller-manager
certificate kube-scheduler /CN=system:kube-scheduler
kubeconfig admin "https://127.0.0.1:$port"
for name in kube-controller-manager kube-scheduler; do kubeconfig $name "https://127.0.0.1:$inner"; done

etcd=http://127.0.0.1:$((port + 1)) peers=http://127.0.0.1:$((port + 2))
start etcd $in "$bin/etcd" --name lab --data-dir "$lab/etcd" --listen-client-urls $etcd --advertise-client-urls $etcd \
    --listen-peer-urls $peers --initial-advertise-peer-urls $peers --initial-cluster lab=$peers \
    --unsafe-no-fsync --log-level warn
start kube-apiserver $in "$bin/kube-apiserver" --etcd-servers=$etcd --bind-address=$bind --secure-port=$inner \
    --advertise-address=$hub_address --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP --allow-privileged=true --authorization-mode=Node,RBAC \
    --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file="$pki/sa.key" \
    --service-account-key-file="$pki/sa.key" ${API_FLAGS:-}
if [ -n "$in" ]; then
    start expose python3 "$here/expose.py" "$port" "/run/netns/$hub" 127.0.0.1 "$inner"
fi
until_ok 90 kubectl get --raw /readyz || { tail -n 20 "$run"/{etcd,kube-apiserver}.log >&2; exit 1; }
[ "${2:-}" != --api-only ] || exit 0

keep kube-controller-manager $in "$bin/kube-controller-manager" --kubeconfig="$lab/kube-controller-manager.kubeconfig" \
    --authentication-kubeconfig="$lab/kube-controller-manager.kubeconfig" \
    --authorization-kubeconfig="$lab/kube-controller-manager.kubeconfig" --bind-address=127.0.0.1 \
    --secure-port=$((port + 3)) --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" --cert-dir="$lab/certs" \
    ${CONTROLLER_FLAGS:-}
keep kube-scheduler $in "$bin/kube-scheduler" --kubeconfig="$lab/kube-scheduler.kubeconfig" \
    --authentication-kubeconfig="$lab/kube-scheduler.kubeconfig" \
    --authorization-kubeconfig="$lab/kube-scheduler.kubeconfig" --bind-address=127.0.0.1 \
    --secure-port=$((port + 4)) --leader-elect=false --cert-dir="$lab/certs" ${SCHEDULER_FLAGS:-}
until_ok 60 kubectl get serviceaccount default
