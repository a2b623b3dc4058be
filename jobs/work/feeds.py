"""Static jobs that reach outside: feeds of other sites, and a training program in a process of its
own."""

from __future__ import annotations

import shlex
import signal
import subprocess
import tempfile
import time

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs.static.context import JobFailedError, Run
from tidings.importing import SourceError, import_articles
from tidings.news.articles import Articles
from tidings.process.clock import now_ms

IMPORT_FOLDER = "import"
TRAINING_TIMEOUT_S = 6 * 3600
STOP_S = 5
SHOWN_BYTES = 2000

log = structlog.get_logger(__name__)


def import_feeds(run: Run) -> str:
    """Import what FEED_URLS names; one feed that fails does not keep the others."""
    context = run.context
    articles = Articles(
        context.engine, context.redis, card_ttl_s=context.settings.gateway.card_ttl_s, clock=now_ms
    )
    created, failures = 0, []
    for url in context.settings.jobs.feed_urls:
        if context.stopping.is_set():
            break
        folder = context.settings.site.var_dir / IMPORT_FOLDER
        try:
            created += import_articles(
                url, context.engine, folder=folder, on_change=articles.forget
            ).counts.created
        except (SourceError, SQLAlchemyError, OSError) as ex:
            log.warning("feed_failed", url=url, error=repr(ex))
            failures.append(f"{url}: {ex}")
    if failures:
        raise JobFailedError(
            f"{len(failures)} of {len(context.settings.jobs.feed_urls)} feeds failed: "
            f"{'; '.join(failures)}"
        )
    return f"{created} new articles from {len(context.settings.jobs.feed_urls)} feeds"


def train(run: Run) -> str:
    """Run TRAINING_COMMAND as a process of its own: its memory and its crashes stay there."""
    command = shlex.split(run.context.settings.jobs.training_command)
    if not command:
        return "no TRAINING_COMMAND is set"
    give_up_at = time.monotonic() + TRAINING_TIMEOUT_S
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - an operator's setting, split as a shell would, run without one
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as ex:
            raise JobFailedError(f"{command[0]}: {ex.strerror}") from ex
        while process.poll() is None:
            if run.context.stopping.wait(0.2) or time.monotonic() > give_up_at:
                _end(process)
                raise JobFailedError("training was stopped before its end")
        output.seek(max(output.tell() - SHOWN_BYTES, 0))
        last = output.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise JobFailedError(f"{command[0]} exited with {process.returncode}: {last}")
    return last.rpartition("\n")[2] or "trained"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
