#!/bin/sh
# Give the server in the cluster its certificates and tokens, as `kusciajob init` made them, and domains.yaml.
# Usage: secrets.sh CERT_DIR [DOMAINS_FILE]      NAMESPACE=kusciajob, which must exist, as must kubectl's context
# The authority's key (ca.key) stays here: nobody in the cluster shall make certificates.
# Called again, it replaces them; then: kubectl -n kusciajob rollout restart deployment kusciajob
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 CERT_DIR [DOMAINS_FILE]" >&2
    exit 2
fi
certs=$1
domains=${2:-}
namespace=${NAMESPACE:-kusciajob}

# store NAME OPTION...
store() {
    name=$1
    shift
    kubectl create secret generic "$name" --namespace "$namespace" "$@" --dry-run=client --output yaml |
        kubectl apply --server-side --force-conflicts --filename -
}

set -- kusciajob-certs
for file in ca.crt server.crt server.key client.crt client.key token; do
    set -- "$@" "--from-file=$file=$certs/$file"
done
store "$@"

set -- kusciajob-domain-certs
for file in "$certs"/domains/*; do
    [ -e "$file" ] && set -- "$@" "--from-file=${file##*/}=$file"
done
store "$@"

if [ -n "$domains" ]; then
    store kusciajob-domains "--from-file=domains.yaml=$domains"
else
    store kusciajob-domains "--from-literal=domains.yaml={}"
fi
