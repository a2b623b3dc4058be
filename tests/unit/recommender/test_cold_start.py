"""What there is to show when little is known: of the reader, of the articles, or of both."""

from __future__ import annotations

from services.recommender.mix import EXPLORED_AT
from services.recommender.sources.untried import FIRST_SHOWINGS
from tests.lab.feeds import Room, a_view, question


def test_an_empty_catalogue_is_an_empty_page() -> None:
    assert Room(a_view(0)).choose(question()).ids.tolist() == []


def test_a_channel_with_one_article_is_a_page_of_one() -> None:
    room = Room(a_view(5, channels={3: 2}))
    assert room.choose(question(channel_id=2)).ids.tolist() == [3]


def test_a_site_without_clicks_shows_its_articles() -> None:
    assert len(Room(a_view(30)).choose(question()).ids) == 10


def test_a_new_reader_sees_at_once_what_the_others_read() -> None:
    room = Room(a_view(400))
    for reader_id in range(100, 120):
        room.click(reader_id, 7, 12)
    assert set(room.choose(question()).ids.tolist()[:2]) == {7, 12}


def test_a_new_article_is_shown_beside_popular_ones_until_it_was_shown_enough() -> None:
    """Articles 1 to 20 are read, and article 21 came out just now."""
    room = Room(a_view(21))
    room.exposures.fold_batch([*range(1, 21)] * FIRST_SHOWINGS, at_ms=0)
    for reader_id in range(100, 120):
        room.click(reader_id, *range(1, 21))
    assert room.choose(question()).ids.tolist()[EXPLORED_AT] == 21

    room.exposures.fold_batch([21] * FIRST_SHOWINGS, at_ms=0)
    assert 21 not in room.choose(question()).ids


def test_an_author_who_writes_everything_new_has_three_places_of_ten() -> None:
    room = Room(a_view(60, authors={id_: 5 if id_ > 30 else id_ + 10 for id_ in range(1, 61)}))
    page = room.choose(question()).ids.tolist()
    assert sum(id_ > 30 for id_ in page) == 3
