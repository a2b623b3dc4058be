"""A reader's taste: how much more, or less, often they click a channel or an author than readers do
at the same places of a page.

A click says little by itself: the top of every page is clicked most, by everybody. So each article
that was seen adds what its place is worth to the expected clicks of its channel and author, and
what counts is the clicks over the expected ones. Old evidence halves every twenty clicks and every
four batches. All of it is computed when a feed is asked for, from the batches and acts that are
read with the request anyway: there is no second record to fall behind. Rejected: the share of a
channel in the reader's clicks. What is not shown cannot be clicked, so a taste that changes is
never found: after sixteen batches such a profile shows none of the new taste, and this one .94
(`docs/recommender.md`).

    tastes = Tastes(exposures, keeper.texts)
    tastes.of(question, view).of_channels(view.channels[rows])  # from -.8 to .8; 0 is unknown
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.candidates import Candidates
from services.recommender.catalogue import View
from services.recommender.changing import affinity, first_that_holds
from services.recommender.exposures import Exposures
from services.recommender.question import Question, disliked
from services.recommender.sorted_ids import find_in, is_in
from services.recommender.texts import Profile, Texts
from services.recommender.trials import places_on_trial
from tidings.reading.acts import Action
from tidings.reading.reader_state import Acted, Batch, ReaderState

# Until old evidence counts half. By clicks alone, a taste that has changed is found late: its old
# channels get no clicks, so that nothing makes the old ones fade (batches until half a batch is of
# the new taste: 11, and with both 7).
HALF_LIFE_CLICKS = 20.0
HALF_LIFE_BATCHES = 4.0
# A disliked article, beside being hidden, speaks against its channel and author as much as that
# many expected clicks that did not come: one alone takes an unknown channel to the lower bound.
EXPECTED_PER_DISLIKE = 3.0
# So many of the newest batches are looked at; decay leaves nothing of older ones.
MOST_BATCHES = 200
# So many of the newest tell whether the taste has changed: of the one before, a sixteenth is left.
JUDGED_BATCHES = 16
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
_NONE: Ids = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Taste:
    """What a reader's clicks say of channels and authors.

    Attributes:
        channel_ids: int64, sorted, without 0; those that the reader was shown or clicked.
        channel_affinities: float32, by channel.
        author_ids: int64, sorted, without 0.
        author_affinities: float32, by author.
        clicked_ids: int64, the articles that were clicked and not disliked, the newest last.
        clicked_rows: int32, their rows; those that are no longer published are left out of both.
        profile: what they are about together; None if that is not known.
        texts: the vectors that it was made of.
        on_trial: the places of the next page that are; see `trials`.
    """

    channel_ids: Ids
    channel_affinities: Floats
    author_ids: Ids
    author_affinities: Floats
    clicked_ids: Ids
    clicked_rows: NDArray[np.int32]
    profile: Profile | None
    texts: Texts
    on_trial: tuple[int, ...]

    def of_channels(self, channel_ids: NDArray[np.integer]) -> Floats:
        """The affinity to each of these channels, float32; 0 where nothing is known."""
        return _look_up(self.channel_ids, self.channel_affinities, channel_ids)

    def of_authors(self, author_ids: NDArray[np.integer]) -> Floats:
        """The affinity to each of these authors, float32; 0 where nothing is known."""
        return _look_up(self.author_ids, self.author_affinities, author_ids)

    def of_texts(self, article_ids: Ids) -> Floats:
        """How near each article is to what was clicked, float32 from 0 to 1."""
        if self.profile is None:
            return np.zeros(len(article_ids), np.float32)
        return self.texts.cosines(self.profile, article_ids)

    def because(self, view: View, rows: NDArray[np.int32]) -> Ids:
        """The newest clicked article by the author of each article, or else in its channel; 0 where
        there is none. int64 (n,)."""
        found = np.zeros(len(rows), np.int64)
        newest_first = self.clicked_rows[::-1]
        if not len(newest_first):
            return found
        for column in (view.channels, view.authors):
            same = column[rows][:, None] == column[newest_first][None, :]
            first = same.argmax(axis=1)
            hits = same[np.arange(len(rows)), first] & (column[rows] != 0)
            found[hits] = self.clicked_ids[::-1][first[hits]]
        return found


def read_taste(
    reader: ReaderState, view: View, expected: NDArray[np.float64], texts: Texts
) -> Taste:
    """The taste of a reader now.

    Args:
        expected: `Exposures.expected()`.
        texts: the vectors of articles.
    """
    batches = _seen(reader)
    stamps = np.array([batch.stamp_ms for batch in batches], np.int64)
    acts = [act for act in reader.acts if act.action is Action.CLICK]
    clicks = _weigh_clicks(acts, stamps)
    shown, shown_on, hopes, batch_weights = _expect(batches, acts, expected)
    dislikes = disliked(reader.acts)
    # Articles shown, then disliked, then clicked.
    ids = np.concatenate([shown, np.fromiter(dislikes, np.int64, len(dislikes)), clicks.ids])
    hoped = np.concatenate(
        [hopes, np.full(len(dislikes), EXPECTED_PER_DISLIKE), np.zeros(len(acts))]
    )
    happened = np.concatenate(
        [np.zeros(len(shown) + len(dislikes)), clicks.weights * clicks.were_chosen]
    )
    # A dislike is never forgotten, and belongs to no batch here.
    came_on = np.concatenate([shown_on, np.full(len(dislikes), len(batches)), clicks.came_on])
    rows = view.rows_of(ids)
    known = rows >= 0
    channels = np.zeros(len(rows), view.channels.dtype)
    channels[known] = view.channels[rows[known]]
    first = _first_that_holds(
        channels, came_on, hoped=hoped, happened=happened, batch_weights=batch_weights
    )
    hoped[came_on < first] = happened[came_on < first] = 0.0
    # What was clicked and then disliked is like nothing that the reader wants.
    kept = np.array([act.article_id not in dislikes for act in acts], np.bool_)
    clicked_rows = rows[len(ids) - len(acts) :]
    led = kept & (clicked_rows >= 0)
    told = np.where(clicks.came_on < first, 0.0, clicks.weights)[kept].astype(np.float32)
    rows, hoped, happened = rows[known], hoped[known], happened[known]
    channel_ids, channel_affinities = _affinities(channels[known], happened, hoped)
    author_ids, author_affinities = _affinities(view.authors[rows], happened, hoped)
    # The page straight after a click is of what was found.
    earlier = clicks.were_chosen & (clicks.came_on < len(batches) - 1)
    return Taste(
        channel_ids=channel_ids,
        channel_affinities=channel_affinities,
        author_ids=author_ids,
        author_affinities=author_affinities,
        clicked_ids=clicks.ids[led],
        clicked_rows=clicked_rows[led],
        profile=texts.profile(clicks.ids[kept], told),
        texts=texts,
        on_trial=places_on_trial(
            int(earlier.sum()),
            int((earlier & (clicks.came_on >= first)).sum()),
            lately=float(clicks.weights[earlier].sum()),
            affinities=channel_affinities,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Clicks:
    """A reader's clicks, oldest first.

    Attributes:
        came_on: the batch before each; -1 before the first.
        weights: what each counts now.
        were_chosen: whether it was among others of a batch; a click without an exposure says what
            was read, and not that it was chosen.
    """

    ids: Ids
    came_on: NDArray[np.intp]
    weights: NDArray[np.float64]
    were_chosen: NDArray[np.bool_]


def _weigh_clicks(acts: Sequence[Acted], stamps: Ids) -> _Clicks:
    at_ms = np.array([act.at_ms for act in acts], np.int64)
    came_on = np.searchsorted(stamps, at_ms) - 1
    weights = _decay(
        clicks_since=np.arange(len(acts) - 1, -1, -1), batches_since=len(stamps) - 1 - came_on
    )
    ids = np.array([act.article_id for act in acts], np.int64)
    chosen = np.array([act.stamp_ms for act in acts], np.int64)
    return _Clicks(ids, came_on, weights, is_in(stamps, chosen))


def _first_that_holds(
    channels: NDArray[np.integer],
    came_on: NDArray[np.integer],
    *,
    hoped: NDArray[np.float64],
    happened: NDArray[np.float64],
    batch_weights: NDArray[np.float64],
) -> int:
    """The first batch whose evidence still holds, by the channel and batch of all evidence; -1
    where all of it does."""
    number = len(batch_weights)
    start = max(number - JUDGED_BATCHES, 0)
    judged = (came_on >= start) & (came_on < number) & (channels != 0)
    found, columns = np.unique(channels[judged], return_inverse=True)
    shape = (number - start, len(found))
    cells = (came_on[judged] - start) * len(found) + columns
    expected, clicks = (
        np.bincount(cells, some[judged], shape[0] * shape[1]).astype(np.float64).reshape(shape)
        for some in (hoped, happened)
    )
    first = first_that_holds(expected, clicks, batch_weights[start:])
    return start + first if first else -1


def _seen(reader: ReaderState) -> list[Batch]:
    """The newest batches that the reader saw, oldest first. An act proves that its batch was seen,
    though no exposure was reported."""
    proved = {act.stamp_ms for act in reader.acts}
    return [
        batch
        for batch in reader.batches[-MOST_BATCHES:]
        if batch.stamp_ms in reader.exposed or batch.stamp_ms in proved
    ]


def _decay(
    clicks_since: NDArray[np.integer], batches_since: NDArray[np.integer]
) -> NDArray[np.float64]:
    """What evidence counts after so many clicks and batches."""
    return np.asarray(
        2.0 ** (-clicks_since / HALF_LIFE_CLICKS - batches_since / HALF_LIFE_BATCHES), np.float64
    )


def _expect(
    batches: Sequence[Batch], clicks: Sequence[Acted], expected: NDArray[np.float64]
) -> tuple[Ids, NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """The articles of these batches, the batch of each, the clicks that their places are worth by
    now, and what each batch counts now."""
    stamps = np.array([batch.stamp_ms for batch in batches], np.int64)
    clicked_ms = np.array([act.at_ms for act in clicks], np.int64)
    weights = _decay(
        clicks_since=len(clicks) - np.searchsorted(clicked_ms, stamps),
        batches_since=np.arange(len(batches) - 1, -1, -1),
    )
    if not batches:
        return np.zeros(0, np.int64), np.zeros(0, np.intp), np.zeros(0), weights
    sizes = np.array([len(batch.article_ids) for batch in batches])
    ids = np.concatenate([np.asarray(batch.article_ids, np.int64) for batch in batches])
    shown_on = np.repeat(np.arange(len(batches)), sizes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    positions = np.minimum(np.arange(len(ids)) - starts, len(expected) - 1)
    return ids, shown_on, expected[positions] * weights[shown_on], weights


def _affinities(
    groups: NDArray[np.integer], happened: NDArray[np.float64], hoped: NDArray[np.float64]
) -> tuple[Ids, Floats]:
    if not (happened.any() or hoped.any()):
        # Nothing speaks for or against any: as good as unknown.
        return _NONE, np.zeros(0, np.float32)
    # 0 is no channel, and no author.
    named = groups != 0
    ids, places = np.unique(groups[named], return_inverse=True)
    happened, hoped = happened[named], hoped[named]
    clicks = np.bincount(places, happened, len(ids)).astype(np.float64)
    expected = np.bincount(places, hoped, len(ids)).astype(np.float64)
    return ids.astype(np.int64), affinity(clicks, expected).astype(np.float32)


def _look_up(known: Ids, values: Floats, asked: NDArray[np.integer]) -> Floats:
    if not len(known):
        return np.zeros(len(asked), np.float32)
    places = find_in(known, asked)
    return np.where(places >= 0, values[places], np.float32(0))


class Tastes:
    """Tells the rest of the pipeline what a reader's taste is, once a question.

    Args:
        exposures: what a place of a page is worth.
        texts: the vectors of articles as they are now.
    """

    def __init__(self, exposures: Exposures, texts: Callable[[], Texts]) -> None:
        self._exposures = exposures
        self._texts = texts
        self._last: tuple[Question, View, Taste] | None = None

    def of(self, question: Question, view: View) -> Taste:
        """The taste of the reader who asks."""
        last = self._last
        if last is not None and last[0] is question and last[1] is view:
            return last[2]
        taste = read_taste(question.reader, view, self._exposures.expected(), self._texts())
        self._last = (question, view, taste)
        return taste

    def columns(self, candidates: Candidates, question: Question, view: View) -> Floats:
        """The affinity to channel and author and the likeness of texts of each candidate, float32
        (n, 3): the columns `TASTE_FEATURES`."""
        taste, rows = self.of(question, view), candidates.rows
        columns = np.empty((len(rows), 3), np.float32)
        columns[:, 0] = taste.of_channels(view.channels[rows])
        columns[:, 1] = taste.of_authors(view.authors[rows])
        columns[:, 2] = taste.of_texts(candidates.ids)
        return columns
