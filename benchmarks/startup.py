"""How soon a new server serves, and what it needs then."""

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.h2 import call_once
from benchmarks.harness import Effort, Result, at_most, single
from benchmarks.servers import kusciajob
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import health_pb2 as pb

HEALTH = "/kuscia.proto.api.v1alpha1.kusciaapi.HealthService/healthZ"
STARTS = 5


def startup(effort: Effort, directory: Path) -> Iterator[Result]:
    """From the start of `kusciajob serve`, as it is by default, to its first answer that it is ready."""
    seconds, megabytes = [], []
    for number in range(max(STARTS, effort.rounds)):
        start = time.perf_counter()
        with kusciajob(directory / str(number)) as server:
            reply = call_once(server.address, HEALTH, b"")
            assert pb.HealthResponse.FromString(reply).data.ready
            seconds.append(time.perf_counter() - start)
            server.settle()
            megabytes.append(server.rss_bytes() / 1e6)
    yield single("Cold start to SERVING", "s", at_most(0.7), seconds)
    yield single("RSS after start", "MB", at_most(90.0), megabytes)


BENCHMARKS = (startup,)
