#!/usr/bin/env bash
# Runs the example's job on a cluster, alice's pods on one node and bob's on another, and verifies its result.
#   demo_kubernetes.sh DIRECTORY IMAGE      DIRECTORY is made anew; VENV=.venv has the server
# The cluster is that of KUBECONFIG, else one of two nodes that is built and started here, which needs root, and ended again.
# On the cluster everything is in the namespaces psi-alice and psi-bob, which are removed at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
directory=$1 image=$2 bin=${VENV:-.venv}/bin
lab=tests/cluster/lab domains=(alice bob)
engine=$(scripts/container_engine.sh)

say() { echo "demo: $*" >&2; }

on_exit=()
clean_up() {
    for ((at = ${#on_exit[@]} - 1; at >= 0; at--)); do eval "${on_exit[at]}" || true; done
}
trap clean_up EXIT

scripts/build_image.sh "$image" examples/psi
rm -rf "$directory"
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
archive=$directory/image.tar

# --- a cluster that has the image
save_image() { $engine save --output "$archive" "$image" >/dev/null; }

start_lab() {
    say "no KUBECONFIG: building and starting a cluster of two nodes (15 minutes the first time)"
    export KUBELAB_PORT=${KUBELAB_PORT:-21600}
    "$lab/build.sh"
    on_exit+=("$lab/down.sh '$directory/lab' --purge")
    "$lab/up.sh" "$directory/lab" --nodes
    save_image
    "$lab/image.sh" "$directory/lab" "$image" --archive "$archive"
    rm "$archive"
    for number in 1 2; do "$lab/node-up.sh" "$directory/lab" "$number"; done
    # What carries the image twice is not needed any more.
    rm -r "$directory/lab/images"
    export KUBECONFIG=$directory/lab/admin.kubeconfig
    kubectl() { "$(. "$lab/lib.sh" && cache_directory)/bin/kubectl" "$@"; }
    # Nodes here share this machine's disk, and there is nothing that provides volumes.
    for domain in "${domains[@]}"; do make_volume "$domain"; done
}

make_volume() {
    install -d -m 0777 "$directory/volumes/$1"
    kubectl apply -f - <<K
apiVersion: v1
kind: PersistentVolume
metadata: {name: psi-$1}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {namespace: psi-$1, name: psi-data}
  hostPath: {path: $directory/volumes/$1, type: Directory}
K
}

give_image() {
    local context
    context=$(kubectl config current-context)
    case $context in
        kind-*) save_image && kind load image-archive "$archive" --name "${context#kind-}" ;;
        k3d-*) save_image && k3d image import "$archive" --cluster "${context#k3d-}" ;;
        *) say "the nodes of $context must have the image $image: nothing here knows how to give it to them" ;;
    esac
    rm -f "$archive"
}

if [[ -z ${KUBECONFIG:-} ]]; then start_lab; else give_image; fi

# --- for each domain a namespace, a node, a volume with its table, and a pod that puts it there and reads the results
workers=$(kubectl get nodes -o json | "$bin/python" -c '
import json, sys
nodes = [node for node in json.load(sys.stdin)["items"] if not node["spec"].get("unschedulable")]
free = [node for node in nodes if not any(taint["effect"] != "PreferNoSchedule" for taint in node["spec"].get("taints", ()))]
print(*sorted(node["metadata"]["labels"]["kubernetes.io/hostname"] for node in free)[:2])')
read -r first second <<<"$workers"
[[ -n ${first:-} ]] || { say "the cluster has no node that takes pods"; exit 1; }
[[ -n ${second:-} ]] || say "the cluster has one node that takes pods: both parties run there"
declare -A node=([alice]=$first [bob]=${second:-$first})

set_up() {
    local storage_class=
    [[ ! -d $directory/lab ]] || storage_class='storageClassName: ""'
    on_exit+=("kubectl delete namespace psi-$1 --ignore-not-found >/dev/null")
    kubectl apply -f - <<K
apiVersion: v1
kind: Namespace
metadata:
  name: psi-$1
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: psi-data, namespace: psi-$1}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  $storage_class
---
apiVersion: v1
kind: Pod
metadata: {name: keeper, namespace: psi-$1}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  nodeSelector: {kubernetes.io/hostname: "${node[$1]}"}
  securityContext: {runAsNonRoot: true, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: keeper
    image: $image
    command: [sleep, infinity]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: psi-data}}]
K
    printf '%s:\n  data_volume: psi-data\n  node_selector: {kubernetes.io/hostname: "%s"}\n' "$1" "${node[$1]}" >>"$directory/domains.yaml"
}

for domain in "${domains[@]}"; do set_up "$domain" >&2; done
for domain in "${domains[@]}"; do
    kubectl wait -n "psi-$domain" --for=condition=Ready pod/keeper --timeout=180s >&2
    (cd "examples/psi/data/$domain" && tar -c -- *) | kubectl exec -i -n "psi-$domain" keeper -- tar -C /data -mx
done

# --- the job
"$bin/kusciajob" run examples/psi/job.json --runtime kubernetes --kube-config "$KUBECONFIG" --namespace 'psi-{domain}' \
    --domains-file "$directory/domains.yaml" --data-dir "$directory/data" --app-image-dir examples/psi/appimages

for domain in "${domains[@]}"; do
    mkdir -p "$directory/domains/$domain"
    kubectl exec -n "psi-$domain" keeper -- tar -C /data -c . | tar -C "$directory/domains/$domain" -x
done
"$bin/python" examples/psi/verify.py "$directory/domains"
echo "where the pods ran:"
for domain in "${domains[@]}"; do
    kubectl get events -n "psi-$domain" --field-selector reason=Scheduled -o custom-columns=:message --no-headers |
        grep -v /keeper | sed 's/Successfully assigned /  /'
done
