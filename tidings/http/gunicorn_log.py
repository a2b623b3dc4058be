"""What gunicorn says, in the form of all other lines.

Its own handlers write past the process's logs, in a form of their own. Rejected: to leave them,
and have a collector read two forms.

    options = {"logger_class": StructuredLogger}
"""

from __future__ import annotations

from typing import Any

import structlog
from gunicorn.glogging import Logger

from tidings.process.logs import SeldomLog

_seldom = SeldomLog(structlog.get_logger(__name__))


class StructuredLogger(Logger):  # type: ignore[misc] # gunicorn carries no annotations
    """gunicorn's own lines go where the process's go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """A stranger makes one by each connection whose bytes are no request."""
        _seldom.warning("gunicorn_warning", message=msg % args if args else msg)
