#!/bin/sh
# Set up the engine of the example: SPU and the example's programs, in a venv of its own.
# Usage: setup_engine.sh VENV_DIR        PYTHON=... is the Python tried first (3.10 or 3.11 will do)
# Does nothing when VENV_DIR is already as it should be.
set -eu

SPU=spu==0.9.5
GMPY2=gmpy2==2.3.2

if [ $# -ne 1 ]; then
    echo "usage: $0 VENV_DIR" >&2
    exit 2
fi
venv=$1
programs=$(cd "$(dirname "$0")/engine" && pwd)

found=
for python in ${PYTHON:+"$PYTHON"} python3.11 python3.10 python3; do
    # A name may be on the PATH and still not start, as the shims of version switchers do.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=none
    case $version in 3.10 | 3.11) found=$python; break ;; esac
done
if [ -z "$found" ]; then
    echo "error: $SPU has wheels for CPython 3.10 and 3.11 only; tried ${PYTHON:-} python3.11 python3.10 python3" >&2
    echo "       install one of them or name it: PYTHON=/path/to/python3.11 $0 $venv" >&2
    exit 1
fi
system=$(uname -sm)
case $system in
    "Linux x86_64" | "Linux aarch64") ;;
    *) echo "error: this example runs on Linux x86_64 and aarch64, this is $system" >&2; exit 1 ;;
esac

# The programs are installed in place, so the checkout they come from belongs to what was set up.
wanted="$SPU $GMPY2 CPython-$version $(cksum <"$programs/pyproject.toml") $programs"
stamp=$venv/.ready
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    touch "$stamp" # newer than the sources: make need not ask again
    echo "engine: $venv is ready"
    exit 0
fi
if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
    echo "error: $venv exists and is no venv; name another directory or remove it" >&2
    exit 1
fi

echo "engine: setting up $venv with $found (about 80 MB to download, 450 MB on disk)"
rm -f "$stamp"
"$found" -m venv --clear "$venv"
# --no-deps: SPU's dependencies (jax, scipy, ...) take another 570 MB and only its MPC compiler needs them.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: "$SPU" "$GMPY2"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable "$programs"
"$venv/bin/python" -c 'import gmpy2; from psi_example.intersect import load_engine; load_engine()'
echo "$wanted" >"$stamp"
echo "engine: $venv is ready"
