"""The static job that tells readers who are away that there is something new.

Each hour it looks for those whose last visit was a day ago, so a reader is told once an absence,
and never twice a day. It is a row in their list, not a mail: one who does not come back is not
disturbed by it. Rejected: to ask the recommender for each of them; a thousand feeds would be made
for readers who do not look, and recorded as shown.

    STATIC_JOBS = (StaticJob("fresh_articles", "17 * * * *", tell_fresh, missed="skip"),)
"""

from __future__ import annotations

from datetime import timedelta

from jobs.static.context import Routine, Run
from tidings.news.visibility import count_published
from tidings.reading.away import find_gone
from tidings.store.engine import transaction
from tidings.talk.notices import Draft, NoticeType, notify_many

AWAY = timedelta(days=1)
WITHIN = timedelta(hours=1)
# Fewer are no reason to come back.
FEWEST = 3
# Told as "99+".
MOST_COUNTED = 100
# Each is a row; a site with more readers leaves some of them untold rather than fill its disk.
MOST_READERS = 10_000
CHUNK = 500


def tell_fresh(run: Run) -> str:
    """Tell readers who have been away for a day how many articles have come since."""
    engine, until = run.context.engine, run.slot - AWAY
    with engine.connect() as conn:
        number = count_published(conn, until, run.slot, most=MOST_COUNTED)
        gone = (
            find_gone(conn, until - WITHIN, until, limit=MOST_READERS) if number >= FEWEST else []
        )
    told = 0
    for start in range(0, len(gone), CHUNK):
        if run.context.stopping.is_set():
            break
        readers = gone[start : start + CHUNK]
        with transaction(engine) as conn:
            notify_many(conn, [_draft(reader_id, number, run) for reader_id in readers])
        told += len(readers)
    summary = f"{told} readers told of {number} articles"
    return summary if told else Routine(summary)


def _draft(reader_id: int, number: int, run: Run) -> Draft:
    return Draft(
        audience=reader_id,
        type=NoticeType.FRESH_ARTICLES,
        subject="articles",
        data={"number": number},
        once=f"fresh_articles:{run.slot:%Y-%m-%d}",
    )
