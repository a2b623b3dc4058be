"""taste: the articles of the channels and authors that the reader clicks more often than the places
they stood at would let expect.

Proposes the best 200 of the site's newest 5,000 and of the newest 200 of each of the four best
channels: affinity to channel plus affinity to author, times freshness. Freshness halves in three
days down to a half: on a small site an old article by the right author is still the better one.
Rejected: only the best channels' articles; an author who also writes elsewhere is not found there.

    TasteSource(tastes)(question, view).because  # the clicked articles that led to these
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from services.recommender.taste import Tastes
from tidings.news.channels import is_every_channel

NEWEST_LOOKED_AT = 5_000
BEST_CHANNELS = 4
NEWEST_OF_CHANNEL = 200
MOST_PROPOSED = 200
FRESHNESS_HALF_LIFE_MS = 3 * 86_400_000


class TasteSource:
    """Articles by the reader's affinities; none for a reader without any above 0."""

    source = Source(number=5, name="taste", reserved=20)

    def __init__(self, tastes: Tastes) -> None:
        self._tastes = tastes

    def __call__(self, question: Question, view: View) -> Proposed:
        taste = self._tastes.of(question, view)
        if not (taste.channel_affinities > 0).any() and not (taste.author_affinities > 0).any():
            return NOTHING
        newest = view.newest(question.channel_id, question.now_ms)
        rows = newest[:NEWEST_LOOKED_AT]
        if len(newest) > NEWEST_LOOKED_AT and is_every_channel(question.channel_id):
            best = taste.channel_ids[np.argsort(-taste.channel_affinities)[:BEST_CHANNELS]]
            of_channels = [view.newest(int(one), question.now_ms) for one in best]
            rows = np.concatenate([rows, *(own[:NEWEST_OF_CHANNEL] for own in of_channels)])
        liking = taste.of_channels(view.channels[rows]) + taste.of_authors(view.authors[rows])
        # PERF: of thousands a few are liked; only those are looked at any further.
        rows, liking = rows[liking > 0], liking[liking > 0]
        unseen = ~is_in(question.reader.seen, view.ids[rows])
        rows, liking = rows[unseen], liking[unseen]
        age = (question.now_ms - view.published[rows]) / FRESHNESS_HALF_LIFE_MS
        strengths = (liking * (0.5 + 0.5 * np.exp2(-age))).astype(np.float32)
        if len(rows) > MOST_PROPOSED:
            kept = np.argpartition(-strengths, MOST_PROPOSED)[:MOST_PROPOSED]
            rows, strengths = rows[kept], strengths[kept]
        return Proposed(rows, strengths, taste.because(view, rows))
