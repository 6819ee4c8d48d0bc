#!/usr/bin/env bash
# Compiles proto/ into kusciajob/_gen, with the import roots of its two parts moved below that package.
#   scripts/gen_proto.sh           replaces kusciajob/_gen
#   scripts/gen_proto.sh --check   changes nothing; exit 1 and the names of the files when kusciajob/_gen is out of date
# PYTHON chooses the interpreter, which has grpcio-tools and mypy-protobuf installed.
set -euo pipefail
export LC_ALL=C # one sort order everywhere

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
committed="$root/kusciajob/_gen"

compile_into() {
    local out="$1" plugin protos googleapis
    plugin="$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/protoc-gen-mypy_grpc"
    googleapis="$("$python" -c 'import google.api, pathlib; print(pathlib.Path(list(google.api.__path__)[0]).parent.parent)')"
    mapfile -t protos < <(find "$root/proto" -name '*.proto' -printf '%P\n' | sort)

    # only_async: stubs and servicers are typed for grpc.aio, the only flavour this project uses.
    "$python" -m grpc_tools.protoc --proto_path="$root/proto" --proto_path="$googleapis" \
        --plugin="protoc-gen-mypy_grpc=$plugin" \
        --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" --mypy_grpc_out="quiet,only_async:$out" \
        "${protos[@]}"

    # Imports, and the module name messages carry (pickle looks classes up by it). The file names in the descriptors
    # stay Kuscia's: that is what lets other stubs of the same files load into the same process.
    find "$out" -name '*.py*' -exec sed -i -E \
        -e 's/^from (kuscia|kusciajob)\.([a-z0-9_.]+ )/from kusciajob._gen.\1.\2/' \
        -e "s/'((kuscia|kusciajob)\.[a-z0-9_.]+_pb2)', _globals/'kusciajob._gen.\1', _globals/" {} +

    # protoc writes a bare Mapping into every constructor, which mypy --strict refuses.
    find "$out" -name '*_pb2.pyi' -exec sed -i '1i # mypy: disallow-any-generics=False' {} +

    find "$out" -mindepth 1 -type d -exec touch {}/__init__.py \;
    echo '"""Written by scripts/gen_proto.sh from proto/; edit those files, not these."""' >"$out/__init__.py"
}

list_files() {
    [[ ! -d $1 ]] || find "$1" -type f -not -path '*/__pycache__/*' -printf '%P\n'
}

compare_with() {
    local fresh="$1" name problem outdated=0
    while read -r name; do
        if [[ ! -e $committed/$name ]]; then
            problem=missing
        elif [[ ! -e $fresh/$name ]]; then
            problem=extra
        elif ! cmp --silent "$fresh/$name" "$committed/$name"; then
            problem=stale
        else
            continue
        fi
        echo "$problem: kusciajob/_gen/$name" >&2
        outdated=1
    done < <({ list_files "$fresh"; list_files "$committed"; } | sort -u)

    if ((outdated)); then
        echo "kusciajob/_gen does not match proto/ as $("$python" -m grpc_tools.protoc --version) compiles it:" \
            "run scripts/gen_proto.sh with the grpcio-tools and mypy-protobuf that setup.cfg pins" >&2
    fi
    return "$outdated"
}

if (($# > 1)) || [[ ${1:---check} != --check ]]; then
    echo "usage: scripts/gen_proto.sh [--check]; got: $*" >&2
    exit 2
fi

fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
compile_into "$fresh"

if (($# == 1)); then
    compare_with "$fresh"
else
    rm -rf "$committed"
    mkdir "$committed"
    cp -R "$fresh/." "$committed"
fi
