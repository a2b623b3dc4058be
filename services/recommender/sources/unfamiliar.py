"""unfamiliar: an article each of channels of which it is not known whether the reader likes them.

A reader whose feed is full of one liked channel never meets the second one: on a site of 24
channels the few other places take a month to come round to it. So twelve channels without
evidence, for or against, each propose their newest unseen article, others in each batch. While
places of the page are on trial (`trials`), they are the twelve that are liked most or disliked
least, so that what was passed over waits for its turn. Evidence fades, so a taste that has changed
is looked for in what was passed over before. Rejected: a bonus for such channels in the ranking; it
moves nothing that no source proposed.

    Unfamiliar(tastes)(question, view).rows  # of twelve channels, at most two each
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from services.recommender.taste import Tastes
from tidings.news.channels import is_every_channel

MOST_CHANNELS = 12
# Of each, while places are on trial: a channel that is liked by then keeps two of them.
ARTICLES_ON_TRIAL = 2
# Of a channel, the newest of these that the reader has not seen.
NEWEST_LOOKED_AT = 50
# Less than this is no evidence: one article passed over at the top of a page, two batches ago.
LITTLE_AFFINITY = 0.1


class Unfamiliar:
    """Channels to get to know; none for a reader who has clicked nothing yet."""

    source = Source(number=12, name="unfamiliar", reserved=MOST_CHANNELS * ARTICLES_ON_TRIAL)

    def __init__(self, tastes: Tastes) -> None:
        self._tastes = tastes

    def __call__(self, question: Question, view: View) -> Proposed:
        taste = self._tastes.of(question, view)
        if not len(taste.clicked_ids) or not is_every_channel(question.channel_id):
            return NOTHING
        channels = np.fromiter(view.by_channel, np.int64, len(view.by_channel))
        affinities = taste.of_channels(channels)
        if not taste.on_trial:
            channels = channels[np.abs(affinities) < LITTLE_AFFINITY]
            affinities = np.zeros(len(channels), np.float32)  # all alike: their turns decide
        # Others in each batch.
        turn = len(question.reader.batches) * MOST_CHANNELS
        turns = (np.arange(len(channels)) - turn) % max(len(channels), 1)
        newest = [
            view.newest(channel_id, question.now_ms)[:NEWEST_LOOKED_AT]
            for channel_id in channels[np.lexsort((turns, -affinities))][:MOST_CHANNELS].tolist()
        ]
        if not newest:
            return NOTHING
        # PERF: the channels together, since few articles cost as much as many.
        rows = np.concatenate(newest)
        unseen = ~is_in(question.reader.seen, view.ids[rows])
        of = np.repeat(np.arange(len(newest)), [len(some) for some in newest])[unseen]
        most = ARTICLES_ON_TRIAL if taste.on_trial else 1
        # Those that as many before them are not of their channel.
        is_first = np.ones(len(of), np.bool_)
        is_first[most:] = of[most:] != of[:-most]
        rows = rows[unseen][is_first]
        return Proposed(rows, np.ones(len(rows), np.float32), np.zeros(len(rows), np.int64))
