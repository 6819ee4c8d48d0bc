"""Tells work that grows with the length of a text from work that grows with its square."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

LINEAR_SECONDS = 20.0
"""Processor time. What is linear takes a third of it on a slow machine that measures coverage; squares take minutes."""


@contextmanager
def linear_time() -> Iterator[None]:
    """Fail where the work on a million characters has taken too long to be linear."""
    began = time.process_time()
    yield
    assert time.process_time() - began < LINEAR_SECONDS
