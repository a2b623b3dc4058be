"""Judges a feed by what it does with planted tastes: how near it comes to the page that knows them.

A running feed says little on a small site, where even a perfect one runs out of articles. So a
reader's state is frozen at the fifth click, and the next batch is drawn from articles held out: as
many as the site has, new to all, of which only a crowd's clicks are known. The same articles are
ranked by these clicks alone ("hot") and by the reader's true taste. 0 is then no better than hot,
and 1 is perfect.

    judge(SMALL, seed=1, make_feed=make_feed).figures["taste_gain"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue import View, make_view
from services.recommender.evaluation.simulator.running import (
    WANTED,
    Feed,
    Reader,
    run_site,
)
from services.recommender.evaluation.simulator.world import (
    FIRST_MS,
    READERS,
    Shape,
    Tastes,
    World,
    make_world,
)
from services.recommender.exposures import Exposures
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from tidings.reading.reader_state import Batch

JUDGED_AT = 5
PAIRS_AT = 15
CROWD_CLICKS = 2_000
YEAR_MS = 365 * 86_400_000

# From what may be shown, the texts of all articles by id, and what readers saw, which both feeds of
# a world share, the feed that is judged.
MakeFeed = Callable[[View, Mapping[int, str], Exposures], Feed]
# Judged by name; a feed's figures, see `judge`.
Figures = dict[str, float]


class HotOnly:
    """The feed to beat: what is clicked most of what the reader has not seen, the same for all."""

    def __init__(self, articles: int) -> None:
        self._clicks = np.zeros(articles + 1)

    def choose(self, question: Question) -> NDArray[np.int64]:
        order = np.argsort(-self._clicks[1:], kind="stable") + 1
        unseen = order[~is_in(question.reader.seen, order)]
        if len(unseen):
            return unseen[: question.wanted]
        return np.array(question.reader.shown_before[: question.wanted], np.int64)

    def see(self, reader_id: int, batch: Batch) -> None: ...

    def click(self, reader_id: int, batch: Batch, position: int, at_ms: int) -> None:
        self._clicks[batch.article_ids[position]] += 1.0

    def hear(self, reader_id: int, article_id: int, at_ms: int) -> None: ...


class HeldOut:
    """What is held out of a world, and the batches that a feed draws from it for frozen readers.

    Args:
        feed: knows the held-out articles, and of the others only what they are about.
    """

    def __init__(self, world: World, feed: Feed, hot: NDArray[np.int64]) -> None:
        self._feed = feed
        self._hot = hot
        self._world = world
        self.drawn: dict[int, NDArray[np.int64]] = {
            clicks: np.zeros((READERS, WANTED), np.int64) for clicks in (JUDGED_AT, PAIRS_AT)
        }

    def look_at(self, reader: Reader, now_ms: int) -> None:
        """Draw a batch if the reader has just come to one of the moments that are judged."""
        for clicks, drawn in self.drawn.items():
            row = drawn[reader.reader_id - 1]
            if len(reader.clicked) >= clicks and not row.any():
                ids = self._feed.choose(reader.question(now_ms))
                row[: len(ids)] = ids

    def gains(self) -> Figures:
        """How near the batches at the fifth click are to the perfect ones."""
        drawn = self.drawn[JUDGED_AT]
        came: NDArray[np.bool_] = np.all(drawn, axis=1)
        tastes, kept = self._world.tastes[0], self._world.shape.articles
        perfect = np.argsort(-tastes.liking[:, kept:], axis=1)[:, :WANTED] + kept + 1
        hot = np.broadcast_to(self._hot[:WANTED], perfect.shape)
        figures: Figures = {"readers_judged": float(came.mean())}
        for name, table in (("taste_gain", tastes.planted), ("utility_gain", tastes.liking)):
            ours, best, floor = (_mean_of(table, ids, came) for ids in (drawn, perfect, hot))
            figures[name] = (ours - floor) / (best - floor)
        return figures | {
            "channels_in_ten": _channels_in(self._world, drawn[came]),
            "planted_pairs": self._pairs(),
        }

    def _pairs(self) -> float:
        """Of the readers who clicked fifteen times, those whose batch holds two articles or more of
        each planted channel."""
        drawn = self.drawn[PAIRS_AT]
        came = np.flatnonzero(drawn.all(axis=1))
        channels = self._world.channels[drawn[came] - 1]
        liked = self._world.tastes[0].channels[came]
        held = (channels[:, :, None] == liked[:, None, :]).sum(axis=1)
        return float((held >= 2).all(axis=1).mean()) if len(came) else 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one world.

    Attributes:
        figures: by name, see `judge`.
        curves: by name, a share for each batch of the running site: of the readers' first taste in
            ours (`feed`) and hot only's (`hot`), and of the second taste in ours (`changed`).
    """

    figures: Figures
    curves: Mapping[str, Sequence[float]]


def judge(shape: Shape, seed: int, make_feed: MakeFeed) -> Judged:
    """Run a site with planted tastes on a feed, and again on clicks alone.

    Returns:
        `taste_gain`: share of the planted taste in a batch; `utility_gain`: the true liking of it;
        both 0 for hot and 1 for perfect. `planted_pairs`, `channels_in_ten`, `clicks_after_fifth`
        (÷ hot only), and after a change of taste `changed_taste_p50` and `_p90`: batches until half
        a batch is of the new taste, 17 if it never was.
    """
    world = make_world(shape, seed)
    total, kept = len(world.ids), shape.articles
    texts = dict(zip(world.ids.tolist(), world.texts, strict=True))
    exposures = Exposures()
    site = _view_of(world, world.published[:kept], kept)
    # What is not held out has a row, for its channel and author, and no moment that comes.
    never = np.where(world.ids <= kept, FIRST_MS + YEAR_MS, world.published)
    held_feed = make_feed(_view_of(world, never, total), texts, exposures)
    hot = _crowd(world, held_feed, seed)
    held = HeldOut(world, held_feed, hot)
    ours = run_site(
        world,
        make_feed(site, texts, exposures),
        seed=seed,
        batches=shape.batches + shape.after_change,
        change_at=shape.batches,
        after_batch=held.look_at,
    )
    theirs = run_site(world, HotOnly(kept), seed=seed, batches=shape.counted)
    clicked = ours.clicked[:, : shape.counted]
    after = np.pad(clicked.cumsum(axis=1) >= JUDGED_AT, ((0, 0), (1, 0)))[:, :-1]
    figures = held.gains()
    figures["clicks_after_fifth"] = float(
        clicked[after].sum() / max(theirs.clicked[after].sum(), 1)
    )
    figures["coverage"] = len(np.unique(ours.shown[:, : shape.batches])) / kept
    if shape.after_change:
        reached = _batches_to_half(world, ours.shown[:, shape.batches :])
        figures["changed_taste_p50"], figures["changed_taste_p90"] = np.percentile(
            reached, [50, 90]
        )
    curves = {
        "feed": _share_of(world.tastes[0], ours.shown),
        "hot": _share_of(world.tastes[0], theirs.shown),
        "changed": _share_of(world.tastes[1], ours.shown),
    }
    means = {name: share.mean(axis=0).tolist() for name, share in curves.items()}
    return Judged(figures, means)


def _view_of(world: World, published: NDArray[np.int64], number: int) -> View:
    return make_view(world.ids[:number], world.channels[:number], world.authors[:number], published)


def _crowd(world: World, feed: Feed, seed: int) -> NDArray[np.int64]:
    """Other readers click what is held out, by the same tastes, in the hour before the first visit;
    returns its articles, the most clicked first."""
    rng = np.random.default_rng([seed, 4])
    kept = world.shape.articles
    liking = world.tastes[0].liking[:, kept:]
    readers = rng.integers(0, READERS, CROWD_CLICKS)
    counts = np.zeros(kept, np.int64)
    for number, reader in enumerate(readers.tolist()):
        chances = liking[reader] / liking[reader].sum()
        article = int(rng.choice(kept, p=chances))
        counts[article] += 1
        at_ms = FIRST_MS - 3_600_000 + number * 1_000
        feed.hear(1_000_000 + number, kept + 1 + article, at_ms)
    return np.argsort(-counts, kind="stable") + kept + 1


def _mean_of(table: NDArray[np.generic], ids: NDArray[np.int64], of: NDArray[np.bool_]) -> float:
    """The mean of a table by reader and article over each reader's batch."""
    return float(np.take_along_axis(table[of], ids[of] - 1, axis=1).mean())


def _channels_in(world: World, batches: NDArray[np.int64]) -> float:
    return float(np.mean([len(set(row)) for row in world.channels[batches - 1].tolist()]))


def _batches_to_half(world: World, shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each reader the first of these batches that is half of their second taste, counted from 1;
    one more than there are if none is."""
    half = _share_of(world.tastes[1], shown) >= 0.5
    first: NDArray[np.int64] = np.where(
        half.any(axis=1), half.argmax(axis=1) + 1, half.shape[1] + 1
    )
    return first


def _share_of(tastes: Tastes, shown: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each reader's batches what of them is planted, (readers, batches)."""
    readers = np.arange(READERS)[:, None, None]
    planted = tastes.planted[readers, np.maximum(shown, 1) - 1] & (shown > 0)
    return np.asarray(planted.mean(axis=2), np.float64)
