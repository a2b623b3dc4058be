"""How readers take what they are shown: how often an article that was seen was clicked, read or
liked, by what brought it there.

Read from the daily counts that the fold keeps (`tallies`), so that a look costs some rows however
much was read. An act counts on its own day; one just after midnight may belong to an exposure just
before. Rejected: joining acts with exposures, which reads all of them each time.

    with engine.connect() as conn:
        for rate in read_rates(conn, Split.SOURCE, since, until):
            print(rate.value, rate.shown, rate.share(Action.CLICK))
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from prometheus_client import Gauge
from sqlalchemy import Connection, Engine, func, select

from tidings.process.clock import milliseconds
from tidings.reading.acts import Action
from tidings.reading.tables import shown_tally
from tidings.reading.tallies import DAY_MS

RATES = Gauge(
    "tidings_shown_rate",
    "Acts of today for each article that was seen today, by act and by number of the source",
    ["act", "source"],
)


class Split(StrEnum):
    """What rates are told apart by."""

    SOURCE = "source"
    VARIANT = "variant"
    CHANNEL = "channel"
    DAY = "day"


@dataclass(slots=True)
class Rate:
    """The acts on what one source, variant, channel or day has shown.

    Attributes:
        value: its number; of a day, days since the epoch.
        acts: act → how often; exposures, too.
    """

    value: int
    acts: dict[Action, int] = field(default_factory=dict)

    @property
    def shown(self) -> int:
        """How many articles were seen."""
        return self.acts.get(Action.EXPOSURE, 0)

    def share(self, action: Action) -> float | None:
        """Acts for each article that was seen; None if none was."""
        return self.acts.get(action, 0) / self.shown if self.shown else None


def read_rates(conn: Connection, split: Split, since: datetime, until: datetime) -> list[Rate]:
    """What was done with what was shown, from the day of one moment to that of another.

    Returns:
        A rate for each number there is, the smallest first.
    """
    column = shown_tally.c["channel_id" if split is Split.CHANNEL else split.value]
    first, last = (milliseconds(moment) // DAY_MS for moment in (since, until))
    rows = conn.execute(
        select(column, shown_tally.c.action, func.sum(shown_tally.c.acts))
        .where(shown_tally.c.day.between(first, last))
        .group_by(column, shown_tally.c.action)
    )
    known = {int(action): action for action in Action}
    found: defaultdict[int, dict[Action, int]] = defaultdict(dict)
    for value, number, acts in rows:
        if number in known:  # A newer release may store an act that this one does not know.
            found[value][known[number]] = int(acts)
    return [Rate(value, acts) for value, acts in sorted(found.items())]


def day_of(rate: Rate) -> str:
    """The day of a rate that was split by days."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=rate.value):%Y-%m-%d}"


def tell_rates(engine: Engine, now: datetime) -> None:
    """Set the metrics to what was done today."""
    with engine.connect() as conn:
        rates = read_rates(conn, Split.SOURCE, now, now)
    RATES.clear()
    for rate in rates:
        for action in Action:
            share = rate.share(action)
            if share is not None and action is not Action.EXPOSURE:
                RATES.labels(action.label, str(rate.value)).set(share)
