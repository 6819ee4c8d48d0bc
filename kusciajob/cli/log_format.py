"""Structured logs on one line each, as text or as JSON, with the fields job, task and party where they are known."""

import logging
import time

import msgspec

from kusciajob.cli import terminal

FIELDS = ("job", "task", "party")
LINES, DETAILS = "lines", "details"
"""Fields of a record that has more to tell: its further lines in text, and the same as an object for JSON."""


class TextFormatter(logging.Formatter):
    """`2026-01-01T00:00:00Z INFO kusciajob.scheduler message job=… task=… party=…`; what follows it is indented."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
        # A line break out of a message, or of an error's text, could pass for another record.
        line = f"{_time(record)} {record.levelname} {record.name} {terminal.visible(record.getMessage())}{fields}"
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
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("kusciajob").setLevel(level.upper())


def _fields(record: logging.LogRecord) -> dict[str, str]:
    return {name: str(value) for name in FIELDS if (value := getattr(record, name, None)) is not None}


def _quoted(value: str) -> str:
    """Bare where it reads as one word, else as a JSON string."""
    is_word = value.isprintable() and value and not set(value) & set(' "=')
    return value if is_word else _json(value)


def _json(value: object) -> str:
    return terminal.json_text(msgspec.json.encode(value).decode())


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
