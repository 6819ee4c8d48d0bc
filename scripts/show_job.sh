#!/usr/bin/env bash
# Shows a job of a data directory on the page: on a terminal by a server that is up until Enter, Ctrl-C or the end of input.
#   show_job.sh JOB DATA_DIRECTORY [SETTING …]      VENV=.venv has the server
# Without a terminal nobody looks: it prints how to start that server.
set -euo pipefail
job=$1 data=$2 bin=${VENV:-.venv}/bin
serve=("$bin/kusciajob" serve --data-dir "$data" --protocol notls --host 127.0.0.1 "${@:3}")

if ! [[ -t 0 && -t 1 ]]; then
    echo "To look at it: $(printf '%q ' "${serve[@]}")and http://127.0.0.1:8082/ui/?job=$job"
    exit 0
fi

log=$(mktemp)
"${serve[@]}" --grpc-port 0 --http-port 0 --log-format json 2>"$log" &
server=$!
end() {
    trap '' INT TERM
    kill "$server" 2>/dev/null || true
    wait "$server" || true
    rm -f "$log"
}
trap end EXIT
trap 'echo; exit 0' INT TERM

for ((;;)); do
    page=$(sed -nE 's/.*"page_address": ?"([^"]+)".*/\1/p' "$log")
    [[ -z $page ]] || break
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done
echo
echo "Look at it: $page?job=$job"
echo "The page is there until you press Enter."
read -r || true
