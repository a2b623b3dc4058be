"""mix: from the best articles to a page that is full, fair, and repeats nothing."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.recommender.candidates import Candidates
from services.recommender.catalogue import View
from services.recommender.mix import EXPLORED_AT, mix
from services.recommender.sources.hot import HOT
from services.recommender.sources.untried import UNTRIED
from tests.lab.feeds import a_view, candidates


def ranked_by_chance(seed: int, number: int) -> tuple[Candidates, View]:
    """Candidates of a few channels and authors, or of none, best first."""
    rng = random.Random(seed)
    ids = list(range(1, number + 1))
    view = a_view(
        number,
        channels={id_: rng.randrange(1, 4) for id_ in ids},
        authors={id_: rng.randrange(0, 5) for id_ in ids},
    )
    scores = sorted((rng.random() for _ in ids), reverse=True)
    sources = [rng.choice([UNTRIED.number, HOT.number]) for _ in ids]
    rng.shuffle(ids)
    return candidates(ids, view, scores=scores, sources=sources), view


ranked = st.builds(ranked_by_chance, st.integers(0, 10**6), st.integers(0, 60))


@given(ranked, st.integers(1, 30))
def test_a_page_is_as_long_as_it_can_be_and_repeats_nothing(
    made: tuple[Candidates, View], wanted: int
) -> None:
    """Never longer than wanted, and shorter only when there are no more candidates of any
    author; and the same candidates make the same page."""
    page = mix(*made, wanted).tolist()

    assert len(page) == min(wanted, len(made[0]))
    assert len(page) == len({*page})
    assert page == mix(*made, wanted).tolist()


@given(ranked, st.integers(1, 30))
def test_an_author_gets_no_more_than_a_share_while_others_wait(
    made: tuple[Candidates, View], wanted: int
) -> None:
    """Three places in ten, not one more while an author with less was left out; unsigned articles
    are free."""
    some, view = made
    most = max(1, -(-wanted * 3 // 10))
    page = mix(some, view, wanted)
    authors = view.authors[some.rows]
    on_page = Counter(author for author in authors[page].tolist() if author)
    waiting = [author for place, author in enumerate(authors.tolist()) if place not in page]
    could_have = [author for author in waiting if not author or on_page[author] < most]

    assert not could_have or max(on_page.values(), default=0) <= most


def test_one_place_in_ten_goes_to_the_best_of_what_few_have_seen() -> None:
    """Popular articles fill the page; what came out just now gets the seventh place."""
    view = a_view(30)
    ids = list(range(1, 31))
    sources = [UNTRIED.number if id_ > 28 else HOT.number for id_ in ids]
    scores = [2 - id_ / 100 for id_ in ids]
    some = candidates(ids, view, scores=scores, sources=sources)
    page = some.ids[mix(some, view, 10)].tolist()

    assert page[EXPLORED_AT] == 29
    assert {*page} - {29} == {*range(1, 10)}


def test_a_second_channel_comes_in_where_it_is_nearly_as_good() -> None:
    """Ten articles of one channel, a little better than ten of another, are not the whole page."""
    view = a_view(20, channels={id_: 1 + id_ % 2 for id_ in range(1, 21)})
    best = [id_ for id_ in range(1, 21) if id_ % 2] + [id_ for id_ in range(1, 21) if not id_ % 2]
    scores = [1.0] * 10 + [0.9] * 9 + [0.0]
    some = candidates(best, view, scores=scores, sources=[HOT.number] * 20)
    channels = view.channels[some.rows[mix(some, view, 10)]].tolist()

    assert Counter(channels)[1] >= 3
