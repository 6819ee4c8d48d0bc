"""A server that soon asks whether clients are there: `python -m tests.support.impatient python -m kusciajob …`."""

import sys

from kusciajob.api.grpc import server
from kusciajob.cli.main import main

LAUNCHER = (sys.executable, "-m", "tests.support.impatient")


def run() -> None:
    server.ASK_MILLISECONDS, server.PRESENT_MILLISECONDS = 1_000, 1_000
    sys.argv = ["kusciajob", *sys.argv[sys.argv.index("kusciajob") + 1 :]]
    main()


if __name__ == "__main__":
    run()
