"""The daemon that owns the party processes of one data directory and outlives the server.

It imports the standard library, itself and files/ only, so that it starts in milliseconds. It speaks JSON
lines, one object each, on DIRECTORY/shim.sock: a request {"id", "op", ...} is answered {"id", "result"} or {"id",
"error": {"errno", "text"}}; every client is told {"event": "exited", "key", "exit"} when nothing of a party is left.

    hello                                               protocol version, pid, and what keeps a party together
    start    key argv env cwd dir [output_limit_bytes] [user]
                                                        spawns the party, or answers its state if it ever was
             [max_restarts pause_seconds]               and again after a failure, so often, after pauses that double
             [notice]                                   what stderr.log begins with
    stop     key grace_seconds                          answered when nothing of the party is left
    recover  key dir                                    state: running, exited, lost (with exit) or unknown
    list                                                the running parties

A party's `dir` gets stdout.log (created first: where it is missing nothing was ever spawned), stderr.log, party.json
(who runs) and exit.json (how it ended); stdout.arrivals and stderr.arrivals say when
output arrived, as far as it was looked at. The shim remembers running parties only; the files are the truth.
"""

PROTOCOL_VERSION = 3
"""Of requests, answers and records: each change of one of them makes it one more. A server knows all up to its own.

Version 1 does not know `user`: it runs programs as itself. Version 2 knows it, and its late shims also `max_restarts`,
`pause_seconds` and `notice`, as their answer to `hello` tells by `restarts`; the others take no notice of these. From
version 3 on all know them, and a record says its version.
"""
EXIT_LOCKED = 3
MAX_REQUEST_BYTES = 8 << 20
