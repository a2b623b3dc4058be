"""What gunicorn says, in the form of all other lines.

Its own handlers write past the process's logs, in a form of their own. Rejected: to leave them,
and have a collector read two forms.

    options = {"logger_class": StructuredLogger}
"""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class StructuredLogger(Logger):  # type: ignore[misc] # gunicorn carries no annotations
    """gunicorn's own lines go where the process's go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
