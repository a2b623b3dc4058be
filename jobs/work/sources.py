"""The static job that asks the sources that are due.

Each minute it takes what is due, a few at once, one at a time of each host and none sooner than a
second after the last; while it runs it takes what becomes due, so a source that drips holds up
nothing but its own host. Sources that fail come last. The run fails if all of its sources did, and
names those that did. Rejected: one job for each source; a schedule of thousands of jobs, of which
each would have to know its neighbours on the same host.

    STATIC_JOBS = (StaticJob("sources", "* * * * *", ask_sources, executor="sources"),)
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from jobs.static.context import Context, JobFailedError, Routine, Run
from jobs.static.runs import read_now
from tidings.importing.addresses import FetchRules
from tidings.importing.report import Counts
from tidings.importing.visiting import Outcome, Visit, visit
from tidings.importing.workspace import FOLDER
from tidings.news.articles import Articles
from tidings.process.clock import now_ms
from tidings.sources.records import Source, SourceRun, add_run
from tidings.sources.registry import follow_list
from tidings.sources.schedule import (
    TIMES_SAID,
    claim,
    count_failing,
    find_due,
    settle_failure,
    settle_gone,
    settle_success,
)
from tidings.store.engine import transaction
from tidings.store.transacting import transact
from tidings.talk.notices import OPERATORS, NoticeType, notify

AT_ONCE = 8
# Between two requests to one host.
REST_S = 1.0
# New ones are begun for so long; then the run ends, and the next begins with what is due.
BEGIN_FOR_S = 240.0
LOOK_EVERY_S = 0.25
MOST_DUE = 200
BY_SETTING = "setting FEED_URLS"
# Characters of an address, and of an error: both fit into a notice with six bytes each, the most
# that JSON makes of one.
MOST_TOLD = 160
# So many that failed are named in a run's line, which holds 4,000 characters.
MOST_NAMED = 20

log = structlog.get_logger(__name__)
_LOOKS = Counter("tidings_source_looks", "Looks at sources, by what came of them", ["outcome"])
_ROWS = Counter("tidings_source_rows", "Entries of sources, by what became of them", ["outcome"])
_FAILING = Gauge(
    "tidings_sources_failing", "Sources that failed three times in a row or more often"
)


@dataclass(slots=True)
class _Done:
    """What a run has done so far."""

    outcomes: Tally[str] = field(default_factory=Tally)
    rows: Counts = field(default_factory=Counts)
    failed: list[str] = field(default_factory=list)

    def add(self, source: Source, seen: Visit) -> None:
        self.outcomes[seen.outcome] += 1
        for name in ("created", "updated", "unchanged", "duplicates", "gone", "rejected"):
            number = getattr(seen.counts, name)
            setattr(self.rows, name, getattr(self.rows, name) + number)
            _ROWS.labels(name).inc(number)
        _LOOKS.labels(seen.outcome.value).inc()
        if seen.error is not None:
            self.failed.append(f"{(source.address or '')[:MOST_TOLD]}: {seen.error[:MOST_TOLD]}")

    def __str__(self) -> str:
        total = sum(self.outcomes.values())
        by = ", ".join(f"{self.outcomes[name]} {name}" for name in Outcome if self.outcomes[name])
        left = len(self.failed) - MOST_NAMED
        named = "; ".join(self.failed[:MOST_NAMED]) + (f"; and {left} more" if left > 0 else "")
        return f"{total} sources: {by}; {self.rows}" + (f"; {named}" if named else "")


def ask_sources(run: Run) -> str:
    """Ask each source that is due; one that fails keeps no other waiting."""
    context = run.context
    _follow_setting(context)
    done = _ask_due(context)
    with context.engine.connect() as conn:
        _FAILING.set(count_failing(conn))
    if not done.outcomes:
        return Routine("no source is due")
    if context.stopping.is_set():
        raise JobFailedError(f"asked to stop; {done}")
    bad = done.outcomes[Outcome.FAILED] + done.outcomes[Outcome.GONE]
    if bad == sum(done.outcomes.values()):
        raise JobFailedError(f"every source failed: {done}")
    return str(done) if bad or done.rows.created or done.rows.updated else Routine(str(done))


def _follow_setting(context: Context) -> None:
    wanted = dict.fromkeys(context.settings.jobs.feed_urls)
    came, left = transact(
        context.engine, lambda conn: follow_list(conn, wanted, added_by=BY_SETTING)
    )
    if came or left:
        log.info("feed_urls_followed", added=came, no_longer_asked=left)


def _ask_due(context: Context) -> _Done:
    done = _Done()
    running: dict[Future[Visit | None], tuple[str, Source]] = {}
    rested_at: dict[str, float] = {}
    until = time.monotonic() + BEGIN_FOR_S
    ask = partial(_ask, context)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="source") as pool:
        while True:
            _collect(running, rested_at, done)
            is_over = context.stopping.is_set() or time.monotonic() > until
            left = {host for host, _ in running.values()}
            left |= {host for host, at in rested_at.items() if at > time.monotonic()}
            has_room = len(running) < AT_ONCE and not is_over
            for source in _find_due(context, left) if has_room else ():
                host = _host(source)
                if len(running) < AT_ONCE and host not in left:
                    running[pool.submit(ask, source)] = (host, source)
                    left.add(host)
            if running:
                wait(running, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            elif is_over or not left:
                return done
            else:
                context.stopping.wait(LOOK_EVERY_S)


def _collect(
    running: dict[Future[Visit | None], tuple[str, Source]],
    rested_at: dict[str, float],
    done: _Done,
) -> None:
    for future in [future for future in running if future.done()]:
        host, source = running.pop(future)
        rested_at[host] = time.monotonic() + REST_S
        seen = future.result()
        if seen is not None:
            done.add(source, seen)


def _find_due(context: Context, left: Collection[str]) -> list[Source]:
    with context.engine.connect() as conn:
        return find_due(conn, read_now(conn), limit=MOST_DUE, besides=left)


def _ask(context: Context, source: Source) -> Visit | None:
    """One source, from claim to record; None if another daemon has it.

    Whatever goes wrong is this source's alone. If even that cannot be written down, it is due again
    when its lease is over.
    """
    try:
        with transaction(context.engine) as conn:
            if not claim(conn, source, read_now(conn)):
                return None
        seen = _visit(context, source)
        transact(context.engine, lambda conn: _record(conn, source, seen))
        return seen
    except SQLAlchemyError as ex:
        log.warning("source_not_recorded", source=source.source_id, error=repr(ex))
        return Visit(outcome=Outcome.FAILED, error=f"the database failed: {ex!r:.200}")


def _visit(context: Context, source: Source) -> Visit:
    articles = Articles(
        context.engine, context.redis, card_ttl_s=context.settings.gateway.card_ttl_s, clock=now_ms
    )
    folder = context.settings.site.var_dir / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return visit(
            source,
            context.engine,
            folder=folder,
            rules=FetchRules.of(context.settings),
            most=context.settings.content.feed_entries,
            on_change=articles.forget,
        )
    except Exception as ex:  # no fault of one source may stop the others; it is logged and told
        log.exception("source_failed", source=source.source_id, address=source.address)
        return Visit(outcome=Outcome.FAILED, error=f"a fault on this side: {ex!r:.200}")


def _record(conn: Connection, source: Source, seen: Visit) -> None:
    now = read_now(conn)
    reasons = list(seen.reasons)
    match seen.outcome:
        case Outcome.FAILED:
            failures = settle_failure(conn, source, now, retry_after_s=seen.retry_after_s)
            is_told = failures >= TIMES_SAID
        case Outcome.GONE:
            settle_gone(conn, source)
            is_told = True
        case _:
            moved = settle_success(
                conn,
                source,
                now,
                etag=seen.etag,
                last_modified=seen.last_modified,
                title=seen.title,
                moved_to=seen.moved_to,
                retry_after_s=seen.retry_after_s,
            )
            if moved is not None:
                reasons.append(f"moved for good to {moved}")
            is_told = False
    add_run(
        conn,
        SourceRun(
            run_id=0,
            source_id=source.source_id,
            at=now,
            outcome=seen.outcome.value,
            took_ms=seen.took_ms,
            created=seen.counts.created,
            updated=seen.counts.updated,
            unchanged=seen.counts.unchanged + seen.counts.duplicates + seen.counts.gone,
            refused=seen.counts.rejected,
            error=seen.error[:512] if seen.error is not None else None,
            reasons=tuple(reasons),
        ),
    )
    if is_told:
        # Last: it locks the inboxes of operators until the commit.
        notify(
            conn,
            audience=OPERATORS,
            type=NoticeType.IMPORT_FAILED,
            subject=f"source:{source.source_id}",
            data={
                "source": (source.address or "")[:MOST_TOLD],
                "error": (seen.error or "")[:MOST_TOLD],
            },
            group=f"import_failed:{source.source_id}",
        )


def _host(source: Source) -> str:
    return urlsplit(source.address or "").netloc
