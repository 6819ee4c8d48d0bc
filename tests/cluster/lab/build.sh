#!/bin/bash
# Builds a Kubernetes and all that its nodes need, from the Go modules whose versions and sums stand in src/*/go.{mod,sum}.
#
#   build.sh [DIRECTORY]     default: see cache_directory in lib.sh
#
# DIRECTORY/bin gets the programs. What is there in the wanted version is not built again, and Go's own cache stands beside
# it: 15 minutes from nothing on two cores, under a minute when only a source here has changed. Needs Go, and for runc a C
# compiler with libseccomp (without it no pod gets a sandbox); these come by apt where they are missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
directory=${1:-$(cache_directory)}
bin=$directory/bin build=$directory/build
mkdir -p "$bin/cni" "$build"
export GOFLAGS=-buildvcs=false GOTOOLCHAIN=local CGO_ENABLED=0 GOCACHE=${GOCACHE:-$build/gocache}

install_packages() {
    local missing=()
    command -v go > /dev/null || missing+=(golang)
    command -v gcc > /dev/null || missing+=(gcc libc6-dev)
    command -v pkg-config > /dev/null || missing+=(pkg-config)
    pkg-config --exists libseccomp 2> /dev/null || missing+=(libseccomp-dev)
    command -v ip > /dev/null || missing+=(iproute2)
    command -v openssl > /dev/null || missing+=(openssl)
    [ ${#missing[@]} = 0 ] && return
    local sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq && $sudo apt-get install -y -qq "${missing[@]}"
}

version_of() { awk -v module="$2" '$1 == module || $2 == module {print substr($NF, 2); exit}' "$here/src/$1/go.mod"; }

# wanted NAME VERSION PROGRAM: is the program not there, or of another version? Then its module stands ready to be built.
wanted() {
    [ -x "$bin/$3" ] && [ "$(cat "$build/$1.version" 2> /dev/null)" = "$2" ] && return 1
    echo "building $1 $2"
    rm -rf "$build/src/$1" && mkdir -p "$build/src" && cp -r "$here/src/$1" "$build/src/$1" && cd "$build/src/$1"
}

# compile PROGRAM PACKAGE LDFLAGS [OPTION...]
compile() {
    local program=$1 package=$2 flags=$3; shift 3
    nice -n 5 go build -mod=mod -trimpath "$@" -ldflags "-s -w $flags" -o "$bin/$program" "$package"
}

built() { echo "$2" > "$build/$1.version"; }

install_packages
kubernetes=$(version_of kubelab k8s.io/kubernetes)
if wanted kubelab "$kubernetes" kubelab; then
    minor=${kubernetes#1.}
    flags=
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags="$flags -X $package.gitVersion=v$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
    done
    compile kubelab . "$flags"
    built kubelab "$kubernetes"
fi
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl etcd; do
    ln -sf kubelab "$bin/$program"
done

containerd=$(version_of containerd github.com/containerd/containerd/v2)
if wanted containerd "$containerd" containerd; then
    for program in containerd containerd-shim-runc-v2 ctr; do
        compile $program github.com/containerd/containerd/v2/cmd/$program \
            "-X github.com/containerd/containerd/v2/version.Version=$containerd" -tags 'no_btrfs no_zfs no_devmapper'
    done
    built containerd "$containerd"
fi

runc=$(version_of runc github.com/opencontainers/runc)
if wanted runc "$runc" runc; then
    CGO_ENABLED=1 compile runc github.com/opencontainers/runc "-X main.version=$runc" -tags seccomp
    built runc "$runc"
fi

cni=$(version_of cni github.com/containernetworking/plugins)
if wanted cni "$cni" cni/bridge; then
    for plugin in main/bridge main/loopback ipam/host-local; do
        compile "cni/${plugin#*/}" github.com/containernetworking/plugins/plugins/$plugin ""
    done
    built cni "$cni"
fi

coredns=$(version_of coredns github.com/coredns/coredns)
if wanted coredns "$coredns" coredns; then
    compile coredns . ""
    built coredns "$coredns"
fi

# Small, and compiled in no time: its sources may have changed.
cd "$here/src/party" && compile party . ""
