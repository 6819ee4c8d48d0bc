# What the lab's scripts share. Those that work with a lab source it with the lab's directory as $1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Where the programs are kept from one run to the next.
cache_directory() { echo "${KUSCIAJOB_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kusciajob-lab}"; }

# open_lab DIRECTORY: everything of a lab is below its directory; its namespaces and cgroups carry an id made of that path,
# so that two labs never touch each other.
open_lab() {
    lab=$(mkdir -p "$1" && cd "$1" && pwd)
    bin=$(cache_directory)/bin
    run=$lab/run
    pki=$lab/pki
    mkdir -p "$run" "$pki"
    id=kl$(printf %s "$lab" | md5sum | cut -c1-6)
    hub=$id-hub
    hub_address=10.77.0.1         # exists inside the lab's namespaces only
    port=${KUBELAB_PORT:-21500}   # the API server's on 127.0.0.1; the five after it are taken, too
}

started_at() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d' ' -f20; }

# alive NAME: does the process run that `start NAME` started? A pid alone could be another one's by now. One of which only
# the first thread has ended is alive: it still has its ports.
alive() {
    local pid since threads state
    [ -f "$run/$1.pid" ] && read -r pid since < "$run/$1.pid" || return 1
    [ -n "$pid" ] && [ "$(started_at "$pid")" = "$since" ] || return 1
    threads=(/proc/$pid/task/*)
    state=$(sed 's/.*) //' "/proc/$pid/stat" 2> /dev/null | cut -c1)
    [ ${#threads[@]} -gt 1 ] || { [ -n "$state" ] && [ "$state" != Z ]; }
}

# start NAME [--in NETNS] COMMAND...: in the background, unless it runs already; its output goes to run/NAME.log
start() {
    local name=$1; shift
    alive "$name" && return
    local enter=()
    if [ "$1" = --in ]; then enter=(nsenter "--net=/run/netns/$2" --); shift 2; fi
    setsid "${enter[@]}" "$@" > "$run/$name.log" 2>&1 < /dev/null &
    local pid=$!
    sleep 0.02
    echo "$pid $(started_at $pid)" > "$run/$name.pid"
}

# keep NAME [--in NETNS] COMMAND...: the same, and anew whenever it ends by itself, as a cluster does with its programs:
# the scheduler ends where it trusts its own memory no longer, once in a while after an outage of the API server.
keep() {
    local name=$1 enter=(); shift
    if [ "$1" = --in ]; then enter=(--in "$2"); shift 2; fi
    start "$name" "${enter[@]}" bash -c \
        'trap "kill \$program; wait; exit" TERM; while :; do "$@" & program=$!; wait $program; sleep 0.5; done' keep "$@"
}

# stop NAME [SIGNAL]: end it and wait until it is gone; by force after 5 seconds
stop() {
    local signal pid i
    for signal in "${2:-TERM}" KILL; do
        alive "$1" || break
        read -r pid _ < "$run/$1.pid"
        kill "-$signal" "$pid" 2> /dev/null || true
        for i in $(seq 100); do alive "$1" || break; sleep 0.05; done
    done
    rm -f "$run/$1.pid"
}

# until_ok SECONDS COMMAND...
until_ok() {
    local end=$(( $(date +%s) + $1 )); shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt $end ] || { echo "gave up: $*" >&2; return 1; }
        sleep 0.1
    done
}

kubectl() { "$bin/kubectl" --kubeconfig "$lab/admin.kubeconfig" "$@"; }

authority() {
    [ -f "$pki/ca.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=kusciajob-lab \
        -addext "keyUsage=critical,keyCertSign,cRLSign" 2> /dev/null
    [ -f "$pki/sa.key" ] || openssl genrsa -out "$pki/sa.key" 2048 2> /dev/null
}

# certificate NAME SUBJECT [NAMES]: signed by the lab's authority
certificate() {
    [ -f "$pki/$1.crt" ] && return
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" \
        -subj "$2" 2> /dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 \
        -out "$pki/$1.crt" -extfile <(
            echo "extendedKeyUsage=clientAuth,serverAuth"
            echo "authorityKeyIdentifier=keyid"
            [ -z "${3:-}" ] || echo "subjectAltName=$3"
        ) 2> /dev/null
}

# kubeconfig NAME SERVER: for whoever has the certificate of that name
kubeconfig() {
    cat > "$lab/$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "$2", certificate-authority: $pki/ca.crt}}]
users: [{name: me, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}]
contexts: [{name: lab, context: {cluster: lab, user: me}}]
current-context: lab
K
}
