"""Which candidates may be shown to this reader in this channel, and why the others may not."""

from __future__ import annotations

import numpy as np
import pytest

from services.recommender.filter import Verdict, judge, judge_seen
from services.recommender.question import Question
from tests.lab.feeds import MINUTE_MS, NOW_MS, a_view, question, reader
from tidings.reading.reader_state import Hidden

VIEW = a_view(5, channels={2: 2}, authors={3: 9})


def judged(asked: Question) -> list[Verdict]:
    """The verdict on articles 1 to 5."""
    return [Verdict(one) for one in judge(VIEW.rows_of([1, 2, 3, 4, 5]), asked, VIEW).tolist()]


@pytest.mark.parametrize(
    ("asked", "dropped"),
    [
        (question(), {}),
        (question(reader(seen=[4])), {4: Verdict.SEEN}),
        (question(reader(clicks=[4])), {4: Verdict.SEEN}),
        (question(channel_id=1), {2: Verdict.OTHER_CHANNEL}),
        (question(exclude=[5, 1]), {1: Verdict.EXCLUDED, 5: Verdict.EXCLUDED}),
        (question(now_ms=NOW_MS - MINUTE_MS), {5: Verdict.NOT_VISIBLE}),
        (question(reader(hidden=Hidden(articles=frozenset({4})))), {4: Verdict.HIDDEN}),
        (question(reader(hidden=Hidden(authors=frozenset({9})))), {3: Verdict.HIDDEN_AUTHOR}),
        (question(reader(hidden=Hidden(channels=frozenset({2})))), {2: Verdict.HIDDEN_CHANNEL}),
    ],
    ids=[
        "nothing is against it",
        "shown before",
        "read before",
        "of another channel",
        "not wanted by the caller",
        "its time has not come",
        "disliked",
        "by a disliked author",
        "in a disliked channel",
    ],
)
def test_what_may_not_be_shown_is_dropped_with_its_reason(
    asked: Question, dropped: dict[int, Verdict]
) -> None:
    """Every source may propose anything; the filter is where it ends, and says why."""
    assert judged(asked) == [dropped.get(id_, Verdict.FIT) for id_ in (1, 2, 3, 4, 5)]


def test_what_is_shown_again_may_have_been_seen_and_nothing_else() -> None:
    """A reader who has seen all of a channel never gets back what they hid."""
    state = reader(seen=[1, 2, 3, 4, 5], hidden=Hidden(articles=frozenset({4})))
    verdicts = judge_seen(VIEW.rows_of([1, 2, 3, 4, 5]), question(state, channel_id=1), VIEW)

    assert np.flatnonzero(verdicts == Verdict.FIT).tolist() == [0, 2, 4]
