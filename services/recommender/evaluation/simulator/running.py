"""The running of a simulated site: readers come, are shown batches, click what they like, and come
again; a feed that is judged chooses each batch.

What a reader would click does not depend on the feed but on their dice, thrown for a visit and a
place, so that two feeds are compared on the same readers in the same mood. Rejected: readers who
click a fixed number of times; a worse feed would then lose nothing.

    run = run_site(world, feed, visits=8)
    run.clicked.sum(axis=1)  # of each reader, int64 (readers,)
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.simulator.world import (
    EXAMINED,
    FIRST_MS,
    READERS,
    Tastes,
    World,
)
from services.recommender.question import Question
from tidings.reading.acts import Action
from tidings.reading.reader_state import Acted, Batch, ReaderState

WANTED = 10
BATCHES_A_VISIT = 3
BETWEEN_VISITS_MS = 6 * 3_600_000
BETWEEN_BATCHES_MS = 90_000
LONGEST_HISTORY = 60
LATEST_ACTS = 128


class Feed(Protocol):
    """What is judged."""

    def choose(self, question: Question) -> NDArray[np.int64]:
        """Article ids in the order to show them."""

    def see(self, reader_id: int, batch: Batch) -> None:
        """A batch was shown and seen."""

    def click(self, reader_id: int, batch: Batch, position: int, at_ms: int) -> None:
        """An article of a batch was clicked."""

    def hear(self, reader_id: int, article_id: int, at_ms: int) -> None:
        """A reader of another site clicked an article."""


@dataclass(slots=True)
class Reader:
    """What one reader was shown and did."""

    reader_id: int
    batches: list[Batch] = field(default_factory=list)
    acts: list[Acted] = field(default_factory=list)
    clicked: set[int] = field(default_factory=set)

    def state(self) -> ReaderState:
        """As the recommender is told of them."""
        batches = self.batches[-LONGEST_HISTORY:]
        return ReaderState(
            batches=tuple(batches),
            acts=tuple(self.acts[-LATEST_ACTS:]),
            exposed=frozenset(batch.stamp_ms for batch in batches),
        )

    def question(self, now_ms: int) -> Question:
        """The reader asks for the next batch, for them."""
        return Question(
            self.reader_id, channel_id=0, wanted=WANTED, now_ms=now_ms, reader=self.state()
        )


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What came of it.

    Attributes:
        shown: int64 (readers, batches, 10), article ids; 0 where a batch was short.
        clicked: int64 (readers, batches), clicks in each batch.
    """

    shown: NDArray[np.int64]
    clicked: NDArray[np.int64]


def run_site(
    world: World,
    feed: Feed,
    *,
    seed: int,
    batches: int,
    change_at: int | None = None,
    after_batch: Callable[[Reader, int], None] = lambda reader, now_ms: None,
) -> Run:
    """Let every reader of a world see so many batches.

    Args:
        change_at: the batch from which on the readers' second tastes hold.
        after_batch: called once a batch is over, with the reader and the moment.
    """
    shown = np.zeros((READERS, batches, WANTED), np.int64)
    clicked = np.zeros((READERS, batches), np.int64)
    readers = [Reader(number + 1) for number in range(READERS)]
    for at_ms, number, batch in _schedule(seed, batches):
        is_changed = change_at is not None and batch >= change_at
        reader, dice = readers[number], _dice(seed, number, batch)
        clicks = _show(reader, feed, world.tastes[is_changed], dice=dice, at_ms=at_ms)
        ids = reader.batches[-1].article_ids
        shown[number, batch, : len(ids)] = ids
        clicked[number, batch] = clicks
        after_batch(reader, at_ms + BETWEEN_BATCHES_MS // 2)
    return Run(shown, clicked)


def _show(
    reader: Reader, feed: Feed, tastes: Tastes, *, dice: NDArray[np.float64], at_ms: int
) -> int:
    ids = feed.choose(reader.question(at_ms))
    batch = Batch(0, at_ms, array("q", ids.tolist()), bytes(len(ids)))
    reader.batches.append(batch)
    feed.see(reader.reader_id, batch)
    chances = tastes.liking[reader.reader_id - 1, ids - 1] * EXAMINED[: len(ids)]
    clicks = 0
    for position in np.flatnonzero(dice[: len(ids)] < chances).tolist():
        article_id = batch.article_ids[position]
        if article_id in reader.clicked:
            continue
        clicks += 1
        reader.clicked.add(article_id)
        clicked_ms = at_ms + 5_000 * clicks
        reader.acts.append(Acted(Action.CLICK, article_id, at_ms, clicked_ms))
        feed.click(reader.reader_id, batch, position, clicked_ms)
    return clicks


def _schedule(seed: int, batches: int) -> list[tuple[int, int, int]]:
    """(moment, reader, batch), in order: visits of three batches, six hours apart, each reader at
    their own time of day."""
    rng = np.random.default_rng([seed, 2])
    starts = rng.integers(0, BETWEEN_VISITS_MS - 600_000, READERS)
    moments = [
        (
            FIRST_MS
            + int(starts[number])
            + batch // BATCHES_A_VISIT * BETWEEN_VISITS_MS
            + batch % BATCHES_A_VISIT * BETWEEN_BATCHES_MS,
            number,
            batch,
        )
        for number in range(READERS)
        for batch in range(batches)
    ]
    return sorted(moments)


def _dice(seed: int, number: int, batch: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, 3, number, batch]).random(WANTED)
