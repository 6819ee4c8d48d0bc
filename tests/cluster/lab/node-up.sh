#!/bin/bash
# Adds a node to the lab that `up.sh DIRECTORY --nodes` has started: a network namespace with a containerd and a kubelet.
#
#   node-up.sh DIRECTORY NUMBER      1 to 99: node n1 has the address 10.77.0.11, its pods are in 10.78.1.0/24, and so on
#
# Pods of all nodes reach each other by address and, by the CoreDNS in the hub, by the names of Services. Images are those in
# DIRECTORY/images (image.sh); localhost/pause:1 and localhost/party:1 are made here. KUBELET_EXTRA: YAML lines.
. "$(dirname "$0")/lib.sh"
open_lab "$1"
number=$2 node=n$2 space=$id-n$2
address=10.77.0.$((10 + number)) pods=10.78.$number
[ -e "/run/netns/$hub" ] || { echo "node-up.sh: first run up.sh $lab --nodes" >&2; exit 1; }
home=$lab/$node
mkdir -p "$home/cni" "$home/kubelet" "/run/$space"

# --- a link into the hub's bridge, and the route to the node's pods
if [ ! -e "/run/netns/$space" ]; then
    ip netns add "$space"
    ip -n "$space" link set lo up
    ip link add "$id-v$number" type veth peer name eth0 netns "$space"
    ip link set "$id-v$number" netns "$hub"
    ip -n "$hub" link set "$id-v$number" master br0 up
    ip -n "$space" addr add "$address/24" dev eth0
    ip -n "$space" link set eth0 up
    ip -n "$space" route add default via $hub_address
    for each in "$space" "$hub"; do
        nsenter --net="/run/netns/$each" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    done
    ip -n "$hub" route add "$pods.0/24" via "$address"
fi
cat > "$home/cni/10-lab.conflist" <<K
{"cniVersion": "1.0.0", "name": "lab", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$home/ipam", "ranges": [[{"subnet": "$pods.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]}
K

# --- containerd, with the lab's images
cat > "$home/containerd.toml" <<K
version = 3
root = "$home/containerd"
state = "/run/$space/containerd"
[grpc]
  address = "/run/$space/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$bin/cni"]
    conf_dir = "$home/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "$bin/containerd-shim-runc-v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "$bin/runc"
      SystemdCgroup = false
K
start "$node-containerd" --in "$space" "$bin/containerd" -c "$home/containerd.toml"
ctr() { "$bin/ctr" -a "/run/$space/containerd.sock" -n k8s.io "$@"; }
until_ok 30 ctr version
mkdir -p "$lab/images"
[ -f "$lab/images/pause.tar" ] || python3 "$here/mkimage.py" localhost/pause:1 "$lab/images/pause.tar" \
    --file "$bin/party" --entry /party --entry pause
[ -f "$lab/images/party.tar" ] || python3 "$here/mkimage.py" localhost/party:1 "$lab/images/party.tar" \
    --file "$bin/party" --entry /party --entry run --user 65532
for image in "$lab"/images/*.tar; do ctr images import "$image" > /dev/null 2>&1; done

# --- one CoreDNS in the hub serves all nodes
certificate coredns /O=system:masters/CN=coredns
kubeconfig coredns https://127.0.0.1:6443
cat > "$lab/Corefile" <<K
.:53 {
    bind $hub_address
    errors
    kubernetes cluster.local {
        kubeconfig $lab/coredns.kubeconfig
        ttl 0
    }
}
K
start coredns --in "$hub" "$bin/coredns" -conf "$lab/Corefile"

# --- kubelet; with cgroup v1 each controller needs the node's root first
cgroup=$id-$node
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mkdir -p "/sys/fs/cgroup/$cgroup"
else
    awk '$3 == "cgroup" {print $2}' /proc/mounts | while read -r mounted; do mkdir -p "$mounted/$cgroup"; done
    for file in cpuset.cpus cpuset.mems; do
        cat "/sys/fs/cgroup/cpuset/$file" > "/sys/fs/cgroup/cpuset/$cgroup/$file"
    done
fi
certificate "$node" "/O=system:nodes/CN=system:node:$node" "IP:$address,DNS:$node"
kubeconfig "$node" "https://$hub_address:6443"
echo "search ." > "$lab/resolv.conf"
cat > "$home/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
address: $address
healthzBindAddress: 127.0.0.1
tlsCertFile: $pki/$node.crt
tlsPrivateKeyFile: $pki/$node.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/$space/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
clusterDomain: cluster.local
clusterDNS: [$hub_address]
resolvConf: $lab/resolv.conf
podLogsDir: $home/pod-logs
volumePluginDir: $home/volumeplugins
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
${KUBELET_EXTRA:-}
K
start "$node-kubelet" --in "$space" "$bin/kubelet" --config="$home/kubelet.yaml" --kubeconfig="$lab/$node.kubeconfig" \
    --root-dir="$home/kubelet" --cert-dir="$home/kubelet/pki" --hostname-override="$node" --node-ip="$address" --v=2
until_ok 90 kubectl wait --for=condition=Ready "node/$node" --timeout=10s
