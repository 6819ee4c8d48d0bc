"""What the server thinks is its own fault: it logs that as an error."""

import logging


class FaultLog(logging.Handler):
    """Appends each error that is logged to a list."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))
