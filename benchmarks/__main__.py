"""`python -m benchmarks [--full] [--only NAME]`: measure, print a table, write results.json and results.svg."""

import argparse
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import filtered, kit, lists, processes, report, scale, servers, startup, unary, watch
from benchmarks.harness import FULL, QUICK, Result

BENCHMARKS = {
    benchmark.__name__: benchmark
    for module in (unary, watch, processes, scale, startup, kit, filtered, lists)
    for benchmark in module.BENCHMARKS
}


def main() -> None:
    """Results of a part (`--only`) are printed, but written nowhere."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more rounds and larger sizes; takes long")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="measure this one; may be repeated")
    given = parser.parse_args()
    effort = FULL if given.full else QUICK
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and the servers stop, too
    servers.pin_load()
    results: list[Result] = []
    begun = time.monotonic()
    # Nothing is removed before the end: for a minute after many files went, ext4 is slow to create others.
    with tempfile.TemporaryDirectory(prefix="kusciajob-bench-") as place:
        for name in given.only or BENCHMARKS:
            if time.monotonic() - begun > effort.seconds:
                print(f"{name}: left out, {effort.seconds:g} s are over")
                continue
            directory = Path(place, name)
            directory.mkdir()
            for result in BENCHMARKS[name](effort, directory):
                results.append(result)
                print(f"{time.monotonic() - begun:5.0f} s  {result.name}", flush=True)
        machine = _machine(Path(place, "machine"))
    report.print_table(results, machine=machine)
    if not given.only:
        report.write_json(results)
        report.write_plot(results, machine=machine)


def _machine(directory: Path) -> str:
    with servers.kusciajob(directory) as server:
        loop = servers.describe(server)
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    versions = f"Linux {platform.release()}, CPython {platform.python_version()}"
    return f"{model}, server on core 0, load on core 1, {versions}, {loop}"


if __name__ == "__main__":
    main()
