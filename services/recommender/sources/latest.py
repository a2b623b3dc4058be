"""latest: the newest unseen articles of the channel, for places that are kept for them.

Freshness is no score here. As a share of the ranking it put what nobody had clicked above nearly
all that was read: .13 to .19 of hit@10 beside .56 for a counter. So the newest ten are ranked by
what is known of them, and a page has one place to try what few have seen. Rejected: only articles
with clicks; a new one would never get its first.

    Latest()(question, view).rows  # the newest first
"""

from __future__ import annotations

import numpy as np

from services.recommender.candidates import Proposed, Source
from services.recommender.catalogue import View
from services.recommender.question import Question
from services.recommender.sorted_ids import is_in

LATEST = Source(number=1, name="latest", reserved=10)
MOST_LOOKED_AT = 500
MOST_PROPOSED = 100


class Latest:
    """Proposes up to a hundred of the newest five hundred."""

    source = LATEST

    def __call__(self, question: Question, view: View) -> Proposed:
        rows = view.newest(question.channel_id, question.now_ms)[:MOST_LOOKED_AT]
        rows = rows[~is_in(question.reader.seen, view.ids[rows])][:MOST_PROPOSED]
        strengths = -np.arange(len(rows), dtype=np.float32)
        return Proposed(rows, strengths, np.zeros(len(rows), np.int64))
