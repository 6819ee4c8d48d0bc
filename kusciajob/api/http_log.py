"""What happens on the HTTP port below requests, in the log."""

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class _ShortenMalformed(logging.Filter):
    """What was sent instead of HTTP is not worth a stack trace, and may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.msg, record.args = "%s: malformed HTTP (%s)", (record.getMessage(), type(error).__name__)
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


protocol_logger = logging.getLogger(__name__)
protocol_logger.addFilter(_ShortenMalformed())
