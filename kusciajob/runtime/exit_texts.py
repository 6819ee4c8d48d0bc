"""How the end of a program is told. The same for every runtime."""

import signal

SIGNALLED = 128
"""What a signal's number is added to for an exit code."""


def of_code(code: int) -> str:
    """The text of an exit code; one above 128 is that of a signal, as in Kubernetes."""
    return of_signal(code - SIGNALLED) if SIGNALLED < code < SIGNALLED + signal.NSIG else f"exit code {code}"


def of_signal(number: int) -> str:
    """The text of a program that a signal has killed."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "real-time signal"
    return f"killed by signal {number} ({name})"


def after_restarts(count: int) -> str:
    """What is added where the program was started again; "" if it was not."""
    if not count:
        return ""
    return f", after {count} restarts" if count > 1 else ", after a restart"
