"""Log records as lines: the fields, and nothing that could pass for another line."""

import json
import logging
import sys
from contextvars import copy_context

from kusciajob.cli.log_format import JsonFormatter, TextFormatter
from kusciajob.telemetry import request


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    """As a logger makes it of a call with `extra=fields`, at 2026-01-01T00:00:00Z."""
    made = logging.makeLogRecord({"name": "kusciajob.scheduler", "levelname": "INFO", "msg": message, **fields})
    made.args = arguments
    made.created = 1767225600.75
    return made


def test_text_has_time_level_logger_message_and_the_known_fields() -> None:
    line = TextFormatter().format(record("started %d parties", 2, party="bob", job="psi", task="psi-1", other="x"))
    assert line == "2026-01-01T00:00:00Z INFO kusciajob.scheduler started 2 parties job=psi task=psi-1 party=bob"


def test_text_quotes_values_that_are_no_single_word() -> None:
    line = TextFormatter().format(record("failed", job="", task='a "b"\n'))
    assert line.endswith(r'failed job="" task="a \"b\"\n"')


def test_a_line_break_in_a_message_makes_no_second_line() -> None:
    line = TextFormatter().format(record("refused %s", "job\n2026-01-01T00:00:00Z INFO forged"))
    assert "\n" not in line


def test_a_line_tells_the_request_during_which_it_was_written_and_numbers_are_numbers() -> None:
    def lines() -> list[str]:
        request.begin("mine")
        ended = record("party ended", job="psi", exit_code=3, seconds=0.5)
        return [TextFormatter().format(ended), JsonFormatter().format(ended)]

    text, entry = copy_context().run(lines)
    assert text.endswith(" party ended job=psi exit_code=3 seconds=0.5 request=mine")
    assert '"exit_code":3,"seconds":0.5,"request":"mine"' in entry
    assert "request" not in JsonFormatter().format(record("stopped"))


HOSTILE = "job\x1b]52;c;cm0gLXJm\x07\x9b2J\u202eevil\u2028forged"
SHOWN = r"job\x1b]52;c;cm0gLXJm\x07\x9b2J\u202eevil\u2028forged"


def failed_with(text: str) -> logging.LogRecord:
    failed = record("failed")
    try:
        raise ValueError(text)
    except ValueError:
        failed.exc_info = sys.exc_info()
    return failed


def test_what_would_act_on_a_terminal_is_escaped_in_messages_fields_and_tracebacks() -> None:
    assert TextFormatter().format(record("refused %s", HOSTILE)).endswith(f"refused {SHOWN}")
    assert '"job\\u001b]52' in TextFormatter().format(record("refused", job=HOSTILE))
    assert SHOWN in TextFormatter().format(failed_with(HOSTILE))
    for line in (
        TextFormatter().format(record("refused", job=HOSTILE)),
        JsonFormatter().format(record("refused %s", HOSTILE, job=HOSTILE)),
        JsonFormatter().format(failed_with(HOSTILE)),
    ):
        assert line.isprintable(), ascii(line)
    assert json.loads(JsonFormatter().format(record("refused %s", HOSTILE)))["message"] == f"refused {HOSTILE}"


def test_a_line_break_in_an_error_makes_no_line_that_could_be_a_record() -> None:
    lines = TextFormatter().format(failed_with("why\n2026-01-01T00:00:00Z INFO forged")).splitlines()
    assert len(lines) > 3
    assert [line for line in lines[1:] if not line.startswith("    ")] == []


def test_json_is_one_object_with_the_fields_and_the_traceback() -> None:
    failed = record("failed:\n%s", "why", job="psi")
    try:
        raise ValueError("reason")
    except ValueError:
        failed.exc_info = sys.exc_info()
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    entry = json.loads(line)
    assert "ValueError: reason" in entry.pop("traceback")
    assert entry == {
        "time": "2026-01-01T00:00:00Z",
        "level": "INFO",
        "logger": "kusciajob.scheduler",
        "message": "failed:\nwhy",
        "job": "psi",
    }
