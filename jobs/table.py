"""What this site does on time: every static job, its moments (UTC) and what to do about missed
ones.

One table in code, read like a crontab, because a schedule is reviewed and released like the code it
starts. Rejected: schedules in the database; no review would show what runs at night.

    job = {job.name: job for job in STATIC_JOBS}["popularity"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobs.pages.build import build_pages
from jobs.pages.following import follow_pages
from jobs.static.context import Context, Routine, Run
from jobs.static.runs import StaticJob
from jobs.work import covers, money, notices, orders, sources, talk, training, upkeep
from tidings.reading import behaviour, popularity
from tidings.reading.rates import tell_rates
from tidings.reading.tallies import prune_tallies
from tidings.store.engine import transaction

# Reports of up to 100 events each: about a second of SQL at most.
FOLD_ENTRIES = 64


def rebuild_popularity(run: Run) -> str:
    """Rank each channel anew for the ladder's third rung."""
    with transaction(run.context.engine) as conn:
        prune_tallies(conn, run.now)
    popularity.rebuild(run.context.engine, run.context.redis, run.now)
    tell_rates(run.context.engine, run.now)
    return Routine("rankings rebuilt")


def fold_behaviours(run: Run) -> str:
    """Drain what waits; while a daemon runs its own loop does this within a second."""
    folded = 0
    while not run.context.stopping.is_set():
        number = behaviour.fold(
            run.context.engine,
            run.context.redis,
            consumer=run.context.owner,
            max_entries=FOLD_ENTRIES,
        )
        folded += number
        if number == 0:
            break
    summary = f"{folded} events folded"
    return summary if folded else Routine(summary)


def fold_loop(context: Context) -> None:
    """A round of the daemon's own loop: waits inside Redis for news, then folds it."""
    # Below the time-out of the client's socket, or every idle round would look like a lost
    # connection.
    block_ms = max(int(context.settings.redis.timeout_s * 500), 10)
    behaviour.fold(
        context.engine,
        context.redis,
        consumer=f"{context.owner}.loop",
        block_ms=block_ms,
        max_entries=FOLD_ENTRIES,
    )


STATIC_JOBS: Sequence[StaticJob] = (
    StaticJob("popularity", "* * * * *", rebuild_popularity),
    StaticJob("behaviour_fold", "* * * * *", fold_behaviours, missed="skip"),
    StaticJob(
        "behaviour_layout",
        "* * * * *",
        upkeep.convert_behaviours,
        missed="skip",
        executor="long",
    ),
    StaticJob("overdue_orders", "* * * * *", orders.find_overdue_orders, missed="skip"),
    StaticJob("money", "* * * * *", money.watch_money, missed="skip"),
    StaticJob("talk_outbox", "* * * * *", talk.watch_outbox, missed="skip"),
    StaticJob("pages", "* * * * *", build_pages, executor="pages"),
    StaticJob("sources", "* * * * *", sources.ask_sources, missed="skip", executor="sources"),
    StaticJob("covers", "* * * * *", covers.fetch_covers, missed="skip", executor="covers"),
    StaticJob("fresh_articles", "17 * * * *", notices.tell_fresh, missed="skip"),
    StaticJob("books", "20 3 * * *", orders.balance_books),
    StaticJob("recount", "40 3 * * *", upkeep.recount),
    StaticJob("images", "50 3 * * *", covers.sweep_images),
    StaticJob("prune", "0 4 * * *", upkeep.prune),
    StaticJob("talk_prune", "10 4 * * *", talk.prune_talk),
    StaticJob("training", "30 4 * * *", training.train, executor="long"),
)

LOOPS: Sequence[tuple[str, Callable[[Context], object]]] = (
    ("behaviour_fold", fold_loop),
    ("pages", follow_pages),
)
