#!/usr/bin/env bash
# Runs the example's job with each party in a container of its own, and verifies its result.
#   demo_containers.sh DIRECTORY IMAGE      DIRECTORY is made anew; VENV=.venv has the server
# Docker's daemon is used where it answers, or what DOCKER_HOST names; else podman, through a service that ends with this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
directory=$1 image=$2 bin=${VENV:-.venv}/bin
engine=$(scripts/container_engine.sh)

scripts/build_image.sh "$image" examples/psi
rm -rf "$directory"
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
cp -r examples/psi/data "$directory/domains"
# The image's user is not the one who runs this.
chmod -R a+rwX "$directory/domains"

at_most() { if [[ $2 == unlimited || $2 -gt $1 ]]; then echo "$1"; else echo "$2"; fi; }

# Podman gives containers more open files and processes than a root with fewer rights may give.
write_podman_settings() {
    local files processes runtime
    files=$(at_most 65536 "$(ulimit -Hn)") processes=$(at_most 32768 "$(ulimit -Hu)") runtime=${engine#podman}
    echo "[containers]"
    echo "default_ulimits = [\"nofile=$files:$files\"," \
        "\"nproc=$processes:$processes\"]"
    echo "[engine]"
    echo 'events_logger = "file"'
    [[ -z $runtime ]] || echo "runtime = \"${runtime# --runtime }\""
    [[ -d /run/systemd/system ]] || echo 'cgroup_manager = "cgroupfs"'
    echo "[network]"
    echo 'network_backend = "netavark"'
}

if [[ $engine == podman* && -z ${DOCKER_HOST:-} ]]; then
    # A socket's path has 107 characters at most.
    service=$(mktemp -d)
    write_podman_settings >"$service/containers.conf"
    export CONTAINERS_CONF=$service/containers.conf
    podman system service --time 0 "unix://$service/socket" >"$directory/podman.log" 2>&1 &
    pid=$!
    trap 'kill $pid; wait $pid || true; rm -rf "$service"' EXIT
    for _ in {1..100}; do [[ -S $service/socket ]] && break || sleep 0.1; done
    export DOCKER_HOST=unix://$service/socket
fi

began=$(date -Iseconds)
"$bin/kusciajob" run examples/psi/job.json --runtime container --data-dir "$directory/data" \
    --domains-dir "$directory/domains" --app-image-dir examples/psi/appimages
"$bin/python" examples/psi/verify.py "$directory/domains"
echo "what the engine has run, each in the network of its task:"
if [[ $engine == podman* ]]; then until=--stream=false; else until=--until=$(date -Iseconds); fi
$engine events --since "$began" "$until" --filter event=start | "$bin/python" -c '
import re, sys
for line in sys.stdin:
    told = dict(re.findall(r"([\w/.-]+)=([^,)]*)", line))
    if "kusciajob/domain" in told:
        print("  {name}  {kusciajob/domain}  {image}  memory {kusciajob/memory}  network {kusciajob/group}".format_map(told))'
