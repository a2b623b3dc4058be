"""again: what was seen the longest ago, asked only when nothing unseen is left.

A reader who has seen all of a channel gets a page rather than none. It has no weight, since it is
never ranked among others.

    recall_again(catalogue, question, seen)  # the longest ago first
"""

from __future__ import annotations

from collections.abc import Sequence

from services.recommender.candidate import Candidate, Question, Source
from services.recommender.catalogue import Catalogue
from tidings.news.channels import is_every_channel

AGAIN = Source(number=3, name="again", weight=0.0)


def recall_again(catalogue: Catalogue, question: Question, seen: Sequence[int]) -> list[Candidate]:
    """The articles of the channel that were shown the longest ago.

    Args:
        seen: article ids, the longest ago first.
    """
    found = []
    for article_id in seen:
        entry = catalogue.get(article_id)
        if entry is None:
            continue
        if is_every_channel(question.channel_id) or question.channel_id == entry.channel_id:
            found.append(Candidate(entry, {AGAIN: 1.0}))
            if len(found) == question.wanted:
                break
    return found
