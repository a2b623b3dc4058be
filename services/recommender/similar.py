"""The neighbours of an article, for its page: what those who read it went on to, and what is like
it by its words.

It asks the sources of a feed as if a reader had clicked this article and nothing else, so that a
page and a feed never disagree on what belongs together. Rejected: a list of neighbours kept for
each article, which is a day old where a story is an hour old.

    find_similar(chooser, article_id=12, wanted=10, now_ms=now_ms())  # [(7, 1.0), (9, 0.4)]
"""

from __future__ import annotations

from services.recommender.choosing import Chooser
from services.recommender.question import Question
from tidings.news.channels import FOR_YOU
from tidings.reading.acts import Action
from tidings.reading.reader_state import Acted, ReaderState

# The first that knows enough of them fills the answer; the others fill it up.
KINDS = ("neighbours", "collaborative", "text")
NO_READER = 0


def find_similar(
    chooser: Chooser, article_id: int, wanted: int, now_ms: int
) -> list[tuple[int, float]]:
    """Up to `wanted` neighbours of an article with how near each is, from 1 down, the nearest
    first. None are near to an article that is not known."""
    clicked = ReaderState(acts=(Acted(Action.CLICK, article_id, 0, now_ms),))
    question = Question(NO_READER, FOR_YOU.channel_id, wanted, now_ms, clicked)
    near: dict[int, float] = {}
    most = 1.0
    for kind in KINDS:
        if len(near) >= wanted:
            break
        found = chooser.propose(question, kind)
        if not len(found) or found.strengths[0] <= 0:
            continue
        # Strengths can be compared within one source only.
        shares = found.strengths / found.strengths[0] * most
        for id_, share in zip(found.ids.tolist(), shares.tolist(), strict=True):
            near.setdefault(id_, share)
        most = min(near.values())
    return list(near.items())[:wanted]
