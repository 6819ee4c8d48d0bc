"""Fuzzes one target in this process, which ends with it: `python -m tests.fuzz.raw TARGET [libFuzzer's flags]`."""

import importlib
import logging
import sys
import tempfile
from pathlib import Path

import atheris

# tomllib: the only parser below ours that is written in Python.
INSTRUMENTED = ["kusciajob", "tomllib", "tests.fuzz.raw"]


def main(target: str, *flags: str) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        module = importlib.import_module(f"tests.fuzz.raw.{target}")
    corpus = Path(tempfile.mkdtemp())
    for number, seed in enumerate(module.seeds()):
        (corpus / f"{number:03}").write_bytes(seed)
    atheris.Setup([target, *flags, str(corpus)], module.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
