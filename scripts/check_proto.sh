#!/usr/bin/env bash
# Checks our protos, without a network: their style (buf's STANDARD rules), and that they break nothing
# that clients of the released package rely on: kusciajob.v1, and kusciajob.testing.v1, from which teams compile stubs for
# their tests. Kuscia's protos are as Kuscia has them.
#   scripts/check_proto.sh             changes nothing; exit 1 and the places of what is wrong
#   scripts/check_proto.sh --release   from now on the present protos are what is released: writes proto/released.binpb
# PYTHON chooses the interpreter, which has grpcio-tools and buf-bin installed.
set -euo pipefail

if (($# > 1)) || [[ ${1:---release} != --release ]]; then
    echo "usage: scripts/check_proto.sh [--release]; got: $*" >&2
    exit 2
fi

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
buf="$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/buf"
googleapis="$("$python" -c 'import google.api, pathlib; print(pathlib.Path(list(google.api.__path__)[0]).parent.parent)')"
released="$root/proto/released.binpb"
packages=(--path kusciajob/v1 --path kusciajob/testing/v1)

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export BUF_CACHE_DIR="$work/cache"

# Compiled by protoc, an image has all that buf would fetch from its registry.
mapfile -t protos < <(cd "$root/proto" && find kusciajob -name '*.proto' | LC_ALL=C sort)
compile() {
    "$python" -m grpc_tools.protoc --proto_path="$root/proto" --proto_path="$googleapis" --include_imports "$@" "${protos[@]}"
}

if (($# == 1)); then
    compile --descriptor_set_out="$released"
    exit
fi

compile --include_source_info --descriptor_set_out="$work/present.binpb"
status=0
"$buf" lint "$work/present.binpb" "${packages[@]}" \
    --config '{"version": "v2", "lint": {"use": ["STANDARD"]}}' || status=1
"$buf" breaking "$work/present.binpb" "${packages[@]}" --against "$released" \
    --config '{"version": "v2", "breaking": {"use": ["FILE"]}}' || status=1
exit "$status"
