"""The static job that looks after what is owed, and after what providers said that does not fit.

Refunds send themselves, by delayed jobs; here it is seen to that each has one, and told how many
wait, how long, and what waits for a person. Rejected: gauges of the gateway's; each of its workers
would count the same rows.

    STATIC_JOBS = (StaticJob("money", "* * * * *", watch_money, missed="skip"),)
"""

from __future__ import annotations

import structlog
from prometheus_client import Gauge

from jobs.static.context import Routine, Run
from tidings.shop import callbacks, refunds
from tidings.shop.callbacks import ALARMING
from tidings.shop.refunds import State

MOST_PROMISED = 1000

log = structlog.get_logger(__name__)
_REFUNDS = Gauge("tidings_refunds", "Refunds by state; alert on any that is dead", ["state"])
_OLDEST = Gauge(
    "tidings_refunds_oldest_owed_seconds", "How long the oldest refund has not been sent"
)
_OPEN = Gauge(
    "tidings_payment_callbacks_open",
    "Payment callbacks that wait for a person, by verdict; alert on any",
    ["verdict"],
)


def watch_money(run: Run) -> str:
    """Promise refunds that were not promised, and count what is owed and what does not fit."""
    engine = run.context.engine
    promised = refunds.promise_owed(engine, limit=MOST_PROMISED)
    with engine.connect() as conn:
        owed = {count.state: count for count in refunds.count_refunds(conn)}
        differing = {count.verdict: count.number for count in callbacks.count_open(conn)}
    for state in State:
        _REFUNDS.labels(state).set(owed[state].number if state in owed else 0)
    for verdict in ALARMING:
        _OPEN.labels(verdict).set(differing.get(verdict, 0))
    oldest = [owed[state].oldest_at for state in refunds.UNSENT if state in owed]
    _OLDEST.set(max(((run.now - at).total_seconds() for at in oldest), default=0.0))
    if not promised:
        return Routine("every refund that is owed is promised")
    log.warning("refunds_promised_anew", number=promised)
    return f"{promised} refunds promised anew"
