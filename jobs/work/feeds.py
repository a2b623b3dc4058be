"""The static job that brings in feeds of other sites.

One feed that fails keeps no other from being imported; the run then fails by its name, and
operators are told of the feed, once a day, with how often.

    STATIC_JOBS = (StaticJob("feeds", "7 * * * *", import_feeds, executor="long"),)
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs.static.context import Context, JobFailedError, Routine, Run
from tidings.importing import InputError, import_articles
from tidings.importing.addresses import FetchRules
from tidings.news.articles import Articles
from tidings.process.clock import now_ms
from tidings.store.engine import transaction
from tidings.talk.notices import OPERATORS, NoticeType, notify

IMPORT_FOLDER = "import"
# Characters of an address, and of an error: both fit into a notice with six bytes each, the most
# that JSON makes of one.
MOST_TOLD = 160

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
                url,
                context.engine,
                folder=folder,
                rules=FetchRules.of(context.settings),
                on_change=articles.forget,
            ).counts.created
        except (InputError, SQLAlchemyError, OSError) as ex:
            log.warning("feed_failed", url=url, error=repr(ex))
            failures.append(f"{url}: {ex}")
            _tell_operators(context, url, ex)
    if failures:
        raise JobFailedError(
            f"{len(failures)} of {len(context.settings.jobs.feed_urls)} feeds failed: "
            f"{'; '.join(failures)}"
        )
    summary = f"{created} new articles from {len(context.settings.jobs.feed_urls)} feeds"
    return summary if created else Routine(summary)


def _tell_operators(context: Context, url: str, failure: Exception) -> None:
    """A database that is away is what failed, or will be told of by others."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    with suppress(SQLAlchemyError), transaction(context.engine) as conn:
        notify(
            conn,
            audience=OPERATORS,
            type=NoticeType.IMPORT_FAILED,
            subject=f"source:{name}",
            data={
                "source": url[:MOST_TOLD],
                "error": str(failure).removeprefix(f"{url}: ")[:MOST_TOLD],
            },
            group=f"import_failed:{name}",
        )
