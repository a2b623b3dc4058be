"""Which of a reader's acts are the session that goes on."""

from __future__ import annotations

from services.recommender.question import SESSION_IDLE_MS, session_of
from tests.lab.feeds import MINUTE_MS, NOW_MS
from tidings.reading.acts import Action
from tidings.reading.reader_state import Acted


def acted(article_id: int, ago_ms: int, action: Action = Action.CLICK) -> Acted:
    return Acted(action, article_id, NOW_MS - ago_ms, NOW_MS - ago_ms)


def test_a_session_ends_after_thirty_idle_minutes() -> None:
    """Twenty minutes between two clicks are one session, however long it goes on; what lies before
    a longer pause belongs to an earlier one."""
    acts = [acted(1, 95 * MINUTE_MS), acted(2, 60 * MINUTE_MS), acted(3, 40 * MINUTE_MS)]
    acts += [acted(4, 20 * MINUTE_MS), acted(5, MINUTE_MS)]

    assert session_of(acts, NOW_MS) == ((5, 4, 3, 2), (1,))


def test_who_comes_back_later_has_no_session_yet() -> None:
    """Yesterday's clicks are earlier ones."""
    assert session_of([acted(1, SESSION_IDLE_MS + 1)], NOW_MS) == ((), (1,))


def test_an_article_counts_once_and_only_what_was_chosen_counts() -> None:
    """A click, its reading and its liking are one article; a dislike chooses nothing."""
    acts = [acted(1, 4000), acted(1, 3000, Action.READING), acted(2, 2000, Action.DISLIKE)]
    acts.append(acted(1, 1000, Action.LIKING))

    assert session_of(acts, NOW_MS) == ((1,), ())


def test_an_article_that_was_disliked_after_all_leads_to_no_other() -> None:
    """It was clicked, and so was another one, before and after; the dislike outweighs both."""
    acts = [acted(1, 4000), acted(2, 3000), acted(1, 2000, Action.DISLIKE)]
    acts.append(acted(1, 1000, Action.READING))

    assert session_of(acts, NOW_MS) == ((2,), ())


def test_ten_of_the_session_and_thirty_of_earlier_ones_are_kept() -> None:
    """A reader of hundreds of articles costs no more than another."""
    before = [acted(100 + number, 3 * SESSION_IDLE_MS) for number in range(50)]
    now = [acted(number, 20_000 - number) for number in range(20)]
    clicked, earlier = session_of([*before, *now], NOW_MS)

    assert list(clicked) == list(range(19, 9, -1))
    assert list(earlier) == list(range(149, 119, -1))


def test_a_clock_that_was_set_back_ends_no_session() -> None:
    """Clicks that now lie an hour ahead were made just now."""
    assert session_of([acted(1, -60 * MINUTE_MS), acted(2, -59 * MINUTE_MS)], NOW_MS) == (
        (2, 1),
        (),
    )
