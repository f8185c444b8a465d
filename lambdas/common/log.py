"""Structured logs: one line of JSON per event on stdout (C9). JSON escapes what hostile file names might contain."""

import functools
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

_context: dict[str, Any] = {}


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname, "message": record.getMessage(), **_context, **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Stdout(logging.StreamHandler):
    """Looks for stdout at each event, since test runners exchange it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(_JsonLine())

    @property
    def stream(self) -> Any:
        return sys.stdout


_logger = logging.getLogger("pipelines")
_logger.setLevel(logging.INFO)
_logger.propagate = False  # Lambda's own handler would print everything a second time
if not _logger.handlers:
    _logger.addHandler(_Stdout())


def start(context: Any, **fields: Any) -> None:
    """Begin the logs of an invocation: these fields stand in each of its lines."""
    _context.clear()
    _context.update(
        function=getattr(context, "function_name", None), request_id=getattr(context, "aws_request_id", None), **fields
    )


def add(**fields: Any) -> None:
    """More fields for the lines of this invocation, once they are known."""
    _context.update(fields)


def failures(handler: Callable[[dict[str, Any], Any], Any]) -> Callable[[dict[str, Any], Any], Any]:
    """Log an exception of the handler in one line with the fields of the invocation, and let it through: what Lambda itself
    writes about it is no JSON and names no file."""

    @functools.wraps(handler)
    def logged(event: dict[str, Any], context: Any) -> Any:
        start(context)
        try:
            return handler(event, context)
        except Exception:
            error("failed")
            raise

    return logged


def info(message: str, **fields: Any) -> None:
    _logger.info(message, extra={"fields": fields})


def warning(message: str, **fields: Any) -> None:
    _logger.warning(message, extra={"fields": fields})


def error(message: str, **fields: Any) -> None:
    """With the traceback of the exception being handled, if there is one."""
    _logger.error(message, extra={"fields": fields}, exc_info=sys.exc_info()[0] is not None)
