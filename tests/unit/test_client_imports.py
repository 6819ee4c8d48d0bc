"""What an application loads with the client: neither the server nor what only the server needs."""

import json
import subprocess
import sys

FOR_THE_SERVER = {"aiohttp", "cachetools", "click", "cryptography", "prometheus_client", "rich", "yaml"}
ROOMS = {"kusciajob.api", "kusciajob.client", "kusciajob.security"}
"""Of security, what tokens and certificates are called and how a token file is read."""


def test_the_client_loads_neither_the_server_nor_what_it_needs() -> None:
    program = "import sys, json, kusciajob.client; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
    assert not FOR_THE_SERVER & {name.partition(".")[0] for name in modules}
    rooms = {".".join(name.split(".")[:2]) for name in modules if name.startswith("kusciajob.")}
    assert rooms - {"kusciajob._gen"} <= ROOMS
    assert not {name for name in modules if name.startswith(("kusciajob.api.calls", "kusciajob.api.http"))}
