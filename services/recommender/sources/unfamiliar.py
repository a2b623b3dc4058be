"""unfamiliar: an article each of channels of which it is not known whether the reader likes them.

A reader whose feed is full of one liked channel never meets the second one: on a site of 24
channels the few other places take a month to come round to it. So ten channels without evidence,
for or against, each propose their newest unseen article, others in each batch. Evidence fades, so a
taste that has changed is looked for in what was passed over before. Rejected: a bonus for such
channels in the ranking; it moves nothing that no source proposed.

    Unfamiliar(tastes)(question, view).rows  # at most ten, of ten channels
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import NOTHING, Proposed, Source
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in
from services.recommender.taste import Tastes
from tidings.news.channels import is_every_channel

MOST_CHANNELS = 10
# Of a channel, the newest of these that the reader has not seen.
NEWEST_LOOKED_AT = 50
# Less than this is no evidence: one article passed over at the top of a page, two batches ago.
LITTLE_AFFINITY = 0.1


class Unfamiliar:
    """Channels to get to know; none for a reader who has clicked nothing yet."""

    source = Source(number=12, name="unfamiliar", reserved=MOST_CHANNELS)

    def __init__(self, tastes: Tastes) -> None:
        self._tastes = tastes

    def __call__(self, question: Question, view: View) -> Proposed:
        taste = self._tastes.of(question, view)
        if not len(taste.clicked_ids) or not is_every_channel(question.channel_id):
            return NOTHING
        channels = np.fromiter(view.by_channel, np.int64, len(view.by_channel))
        little = channels[np.abs(taste.of_channels(channels)) < LITTLE_AFFINITY]
        # Others in each batch.
        turn = len(question.reader.batches) * MOST_CHANNELS
        turned = (turn + np.arange(min(MOST_CHANNELS, len(little)))) % max(len(little), 1)
        newest = [
            view.newest(channel_id, question.now_ms)[:NEWEST_LOOKED_AT]
            for channel_id in little[turned].tolist()
        ]
        if not newest:
            return NOTHING
        # PERF: the channels together, since few articles cost as much as many.
        rows = np.concatenate(newest)
        unseen = ~is_in(question.reader.seen, view.ids[rows])
        of = np.repeat(np.arange(len(newest)), [len(some) for some in newest])[unseen]
        is_first = np.ones(len(of), np.bool_)
        is_first[1:] = of[1:] != of[:-1]
        rows = rows[unseen][is_first]
        return Proposed(rows, np.ones(len(rows), np.float32), np.zeros(len(rows), np.int64))
