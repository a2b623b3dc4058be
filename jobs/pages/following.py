"""Keeps this machine's folder of pages up to date within seconds, beside the job of each minute.

The job runs once a minute wherever it is won; readers of every machine want each page there, and
what was taken down gone from all of them. So each daemon looks once a second at what changed last,
and builds its own folder if that differs. Rejected: a notice through Redis; one that is lost would
leave a page on one machine for good.

    LOOPS = (("pages", follow_pages),)
"""

from __future__ import annotations

import time

import structlog

from jobs.pages.build import build_folder
from jobs.static.context import Context, JobFailedError
from jobs.static.runs import read_now
from tidings.news.changes import read_mark

LOOK_EVERY_S = 1.0
# What no mark tells, such as an article whose hour comes by itself.
BUILD_EVERY_S = 60.0

log = structlog.get_logger(__name__)


def follow_pages(context: Context) -> None:
    """Build whenever something changed, until the daemon is asked to stop.

    Raises:
        OSError: a page could not be written. The next call begins with a build.
    """
    seen = ""
    built_s = -BUILD_EVERY_S
    wait_s = 0.0
    while not context.stopping.wait(wait_s):
        wait_s = LOOK_EVERY_S
        started_s = time.monotonic()
        with context.engine.connect() as conn:
            mark, now = read_mark(conn), read_now(conn)
        if mark == seen and started_s - built_s < BUILD_EVERY_S:
            continue
        try:
            built = build_folder(context, now)
            if built.files_written or built.files_deleted:
                log.info("pages_followed", built=str(built))
        except JobFailedError as ex:
            log.warning("pages_not_built", reason=str(ex))
        seen, built_s = mark, time.monotonic()
        # A large import changes something all the time: half of the time is the others'.
        wait_s = max(LOOK_EVERY_S, built_s - started_s)
