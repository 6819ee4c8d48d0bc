"""Asks etcd past the API server: each line of the standard input is a path and a JSON body; the answers are printed.

python3 etcd.py URL
"""

import sys
from urllib.request import Request, urlopen

for line in sys.stdin:
    path, _, body = line.strip().partition(" ")
    request = Request(sys.argv[1] + path, body.encode(), {"Content-Type": "application/json"})  # noqa: S310  # our own etcd
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        print(answer.read().decode())  # noqa: T201  # this is a program
