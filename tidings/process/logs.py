"""What the processes tell their operators: structured logs and the request ids that join them;
`metrics` has the rest.

One canonical line a request, written when it has ended, with everything known about it; context
such as the request id is bound once and appears in every line. structlog over the standard
library's logging, so that libraries' own records come out in the same form.

    configure_logging(settings, "gateway")
    name_in_every_line(worker=2)
    structlog.get_logger().info("gateway_started", address=address)
"""

from __future__ import annotations

import contextvars
import logging
import re
import secrets
import sys
import threading
import time
from typing import Any

import structlog

from tidings.process.settings import Settings

# Of the process and not of a context: a thread or a greenlet begins with an empty one.
_in_every_line: dict[str, Any] = {}
# NOTE: also what keeps a request id harmless inside an SQL comment, a log line and a Thrift header.
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def accept_request_id(candidate: str | None) -> str:
    """The caller's request id if it is 1 to 64 letters, digits, `_` or `-`; a new one otherwise."""
    if candidate and _REQUEST_ID.fullmatch(candidate):
        return candidate
    return secrets.token_hex(8)


def log_variable(name: str) -> contextvars.ContextVar[str]:
    """The variable behind a field that structlog binds.

    PERF: setting and resetting it takes a twentieth of `bound_contextvars`, which matters where
    calls come by the ten thousand. It holds `...` where structlog has unbound the field.
    """
    context = contextvars.Context()
    token = context.run(structlog.contextvars.bind_contextvars, **{name: ""})[name]
    return token.var


class SeldomLog:
    """Writes one line a second about a thing, and with it how many it left out since the last.

    For what a failing dependency or a crowd of strangers would otherwise write by the thousand.

        seldom.warning("rpc_call_failed", about="ConnectionError", cause=str(ex))
    """

    def __init__(self, log: Any, every_s: float = 1.0) -> None:
        self._log = log
        self._every_s = every_s
        self._lock = threading.Lock()
        self._next_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, *, about: str = "", **fields: Any) -> None:
        """Write the line, or count it. `about` tells apart what must not hide each other; there
        are few of those."""
        thing, now_s = f"{event} {about}", time.monotonic()
        with self._lock:
            if now_s < self._next_s.get(thing, 0.0):
                self._left_out[thing] = self._left_out.get(thing, 0) + 1
                return
            self._next_s[thing] = now_s + self._every_s
            left_out = self._left_out.pop(thing, 0)
        self._log.warning(event, **fields, left_out=left_out)


def name_in_every_line(**fields: Any) -> None:
    """Say of each line from now on, in every thread, what it comes from."""
    _in_every_line.update(fields)


def configure_logging(settings: Settings, process: str) -> None:
    """Send structlog and standard logging to stderr, as console lines or one JSON object a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    console = settings.site.log_format == "console" or (
        settings.site.log_format == "auto" and sys.stderr.isatty()
    )
    renderer: list[structlog.typing.Processor] = (
        # The default traceback shows every frame's variables, secrets among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.site.log_level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(
            getattr(logging, settings.site.log_level.upper())
        ),
        cache_logger_on_first_use=True,
    )
    name_in_every_line(process=process)


def _name(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {**_in_every_line, **event}
