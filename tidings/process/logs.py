"""What the processes tell their operators: structured logs and the request ids that join them;
`metrics` has the rest.

One canonical line a request, written when it has ended, with everything known about it; context
such as the request id is bound once and appears in every line. structlog over the standard
library's logging, so that libraries' own records come out in the same form.
"""

from __future__ import annotations

import contextvars
import fcntl
import logging
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

import structlog

from tidings.process.errors import CannotStartError
from tidings.process.settings import Settings

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


def configure_logging(settings: Settings, process: str) -> None:
    """Send structlog and standard logging to stderr, as console lines or one JSON object a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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
    structlog.contextvars.bind_contextvars(process=process)


def share_metrics_between_workers(settings: Settings, process: str, bind: str) -> Path:
    """Let the forked workers of one process add up their metrics, in files under
    `VAR_DIR/metrics/`.

    prometheus_client decides this when it is imported, so call this before importing a module that
    has metrics.

    Args:
        bind: the address of the process; those on different addresses may share a `VAR_DIR`.

    Raises:
        CannotStartError: such a process runs already; its files were left alone.
    """
    name = f"{process}-{re.sub(r'[^A-Za-z0-9.]+', '-', bind)}"
    folder = settings.site.var_dir / "metrics" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not _hold(folder.with_name(f"{name}.lock")):
        raise CannotStartError(
            f"{process} runs already for {bind}, with its files in "
            f"{settings.site.var_dir.absolute()}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return folder


def _hold(lock: Path) -> bool:
    """Hold a lock until this process ends, however it does; False if another process has it."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.lockf(
            descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # the workers do not inherit it, and may outlive us
    except OSError:
        os.close(descriptor)
        return False
    return True
