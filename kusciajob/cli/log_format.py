"""Structured logs on one line each, as text or as JSON, with fields that tell what the line is about."""

import logging
import time
from functools import lru_cache
from typing import Any

import msgspec

from kusciajob.cli import terminal
from kusciajob.telemetry import request

FIELDS = ("job", "task", "party", "attempt", "domain", "caller", "state", "exit_code", "seconds", "reason")
"""What a line may be about, beside the request during which it was written: `request`."""
LINES, DETAILS = "lines", "details"
"""Fields of a record that has more to tell: its further lines in text, and the same as an object for JSON."""


class TextFormatter(logging.Formatter):
    """`2026-01-01T00:00:00Z INFO kusciajob.scheduler message job=… task=… …`; what follows it is indented."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join([f" {name}={_quoted(value)}" for name, value in _fields(record).items()])
        # A line break out of a message, or of an error's text, could pass for another record.
        line = f"{_time(record)} {record.levelname} {record.name} {_visible(record.getMessage())}{fields}"
        for further in getattr(record, LINES, ()):
            line += f"\n    {terminal.visible(further)}"
        if not record.exc_info:
            return line
        trace = terminal.clean(self.formatException(record.exc_info)).replace("\n", "\n    ")
        return f"{line}\n    {trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, the fields, and `details` and `traceback` where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {"time": _time(record), "level": record.levelname, "logger": record.name}
        entry |= {"message": record.getMessage(), **_fields(record)}
        if (details := getattr(record, DETAILS, None)) is not None:
            entry["details"] = details
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return _json(entry)


def configure(*, level: str, form: str, handler: logging.Handler) -> None:
    """Log from that level on ("info"), in that form ("text" or "json"); of other packages only warnings and worse."""
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    # What no line shows, and each would pay for: see "Optimization" in Python's logging how-to.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("kusciajob").setLevel(level.upper())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    known = vars(record)
    fields = {name: known[name] for name in FIELDS if known.get(name) is not None}
    if request_id := request.present().id:
        fields["request"] = request_id
    return fields


def _visible(text: str) -> str:
    # Nearly always, and found out in a tenth of the time.
    return text if text.isascii() and text.isprintable() else terminal.visible(text)


def _quoted(value: Any) -> str:
    """Bare where it reads as one word, else as a JSON string."""
    if not isinstance(value, str):
        return str(value)
    is_word = value and value.isprintable() and not (" " in value or '"' in value or "=" in value)
    return value if is_word else _json(value)


def _json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if text.isascii() and text.isprintable() else terminal.json_text(text)


def _time(record: logging.LogRecord) -> str:
    return _time_of(int(record.created))


@lru_cache(maxsize=4)
def _time_of(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
