"""The events that a training learns from, as Parquet files that DuckDB asks in SQL.

A site's events do not fit into memory, nor should its database be asked twice for them: they are
written down once, a file for each hundred thousand, and every question after that is plain SQL over
columns, with a bound on the memory that it takes. Two places to learn from, the site's own tables
and a file of events, come out alike. Rejected: counting in Python, nine times slower over three
million clicks.

    with Events(folder) as events:
        events.add(block)
        events.summary().readers
        events.clicks(most=3_000_000)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from tidings.importing.event_rows import EventBlock
from tidings.reading.acts import Action

MEMORY = "512MB"
ROWS_A_FILE = 100_000
COLUMNS = ("at_ms", "readers", "articles", "actions", "sessions", "devices", "referrers")
# Acts that say a reader wanted an article.
WANTED = (Action.CLICK, Action.READING, Action.COLLECT, Action.LIKING)
LATEST_OF_READER = 200

SUMMARY = """
SELECT count(*) FILTER (actions = $click), count(DISTINCT readers), count(DISTINCT articles),
       min(at_ms), max(at_ms)
FROM events
"""
CLICKS = """
WITH latest AS (
    SELECT * FROM events WHERE actions = $click ORDER BY at_ms DESC LIMIT $most
)
SELECT at_ms, readers, articles, actions, sessions, devices, referrers FROM latest
ORDER BY at_ms, readers, articles
"""
# Each reader's latest articles, of those that most readers wanted.
READINGS = """
WITH wanted AS (
    SELECT readers, articles, max(at_ms) AS at_ms
    FROM events WHERE list_contains($wanted, actions)
    GROUP BY readers, articles
    QUALIFY row_number() OVER (PARTITION BY readers ORDER BY max(at_ms) DESC) <= $latest
), known AS (
    SELECT articles FROM wanted GROUP BY articles HAVING count(*) >= $least
    ORDER BY count(*) DESC, articles LIMIT $most
)
SELECT readers, articles FROM wanted JOIN known USING (articles)
ORDER BY readers, at_ms, articles
"""


class Summary(NamedTuple):
    """What there is to learn from."""

    clicks: int
    readers: int
    articles: int
    first_ms: int
    last_ms: int


class Readings(NamedTuple):
    """Who wanted what: each pair once, by reader and then by time; int64."""

    readers: NDArray[np.int64]
    articles: NDArray[np.int64]


class Events:
    """Events in a folder of their own.

    Args:
        folder: is empty, and belongs to this alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[Sequence[NDArray[Any]]] = []
        self._rows = self._files = 0
        self._database = duckdb.connect(
            config={"threads": 1, "memory_limit": MEMORY, "temp_directory": str(folder / "spill")}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        ex: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, block: EventBlock) -> None:
        """Take some more events in, in any order."""
        self._waiting.append([getattr(block, name) for name in COLUMNS])
        self._rows += len(block.at_ms)
        if self._rows >= ROWS_A_FILE:
            self._write()

    def summary(self) -> Summary:
        """How much was taken in."""
        rows = self._ask(SUMMARY, click=int(Action.CLICK)).fetchall()
        return Summary(*(number or 0 for number in rows[0]))

    def clicks(self, most: int) -> EventBlock:
        """The latest `most` clicks, in the order of time."""
        found = self._ask(CLICKS, click=int(Action.CLICK), most=most).fetchnumpy()
        columns = {name: np.asarray(found[name]) for name in COLUMNS}
        number = len(columns["at_ms"])
        return EventBlock(
            lines=np.arange(1, number + 1, dtype=np.int64), rejects=(), last_line=number, **columns
        )

    def readings(self, *, most_articles: int, least_readers: int) -> Readings:
        """Who wanted which of the articles that most readers wanted."""
        found = self._ask(
            READINGS,
            wanted=list(map(int, WANTED)),
            latest=LATEST_OF_READER,
            least=least_readers,
            most=most_articles,
        ).fetchnumpy()
        return Readings(np.asarray(found["readers"]), np.asarray(found["articles"]))

    def _write(self) -> None:
        columns = zip(*self._waiting, strict=True)
        rows = {name: np.concatenate(some) for name, some in zip(COLUMNS, columns, strict=True)}
        self._database.register("waiting", rows)
        path = self._folder / f"events-{self._files:06}.parquet"
        self._database.execute("COPY (SELECT * FROM waiting) TO $path", {"path": str(path)})
        self._database.unregister("waiting")
        self._files += 1
        self._waiting, self._rows = [], 0

    def _ask(self, sql: str, **values: Any) -> duckdb.DuckDBPyConnection:
        if self._waiting or not self._files:
            self._waiting = self._waiting or [[np.empty(0, dtype) for dtype in _DTYPES]]
            self._write()
        files = [str(path) for path in sorted(self._folder.glob("events-*.parquet"))]
        self._database.read_parquet(files).create_view("events", replace=True)
        return self._database.execute(sql, values)


_DTYPES = (np.int64, np.int64, np.int64, np.uint8, np.int64, np.uint8, np.uint8)
