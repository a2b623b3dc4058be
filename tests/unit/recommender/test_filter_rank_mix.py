"""filter, rank and mix: from all that was proposed to a page that is full, fair, and repeats
nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from services.recommender.candidate import Candidate, Question
from services.recommender.catalogue import Catalogue, Entry
from services.recommender.filter import filter_candidates
from services.recommender.mix import EXPLORE_EVERY, mix
from services.recommender.rank import rank
from services.recommender.sources.again import AGAIN
from services.recommender.sources.hot import HOT
from services.recommender.sources.latest import LATEST
from tests.lab.newsroom import HOUR_MS, NOW_MS, Clock, Newsroom

SOURCES = {source.name: source for source in (LATEST, HOT, AGAIN)}


def candidate(
    article_id: int, author_id: int | None = None, age_ms: int = 0, **scores: float
) -> Candidate:
    """A candidate with its scores by source: `latest=…`, `hot=…`."""
    entry = Entry(article_id, 1, author_id, NOW_MS - age_ms)
    return Candidate(entry, {SOURCES[name]: score for name, score in scores.items()})


def ids(candidates: Sequence[Candidate]) -> list[int]:
    return [one.entry.article_id for one in candidates]


def ranked_by_chance(seed: int, number: int) -> list[Candidate]:
    """Candidates of a few authors, or of none, proposed by one source or both, in order of rank."""
    rng = random.Random(seed)
    made = []
    for article_id in range(1, number + 1):
        scores = {
            name: rng.random() for name in rng.choice([("latest",), ("hot",), ("latest", "hot")])
        }
        made.append(
            candidate(article_id, rng.choice([None, 1, 2, 3, 4]), rng.randrange(100), **scores)
        )
    return rank(made)


# By a seed, since lists that hypothesis draws piece by piece are too short and too alike to meet a
# cap.
ranked_candidates = st.builds(ranked_by_chance, st.integers(0, 10**6), st.integers(0, 60))


class TestFilter:
    """Which candidates may be shown to this reader in this channel, each once."""

    @pytest.fixture
    def newsroom(self, engine: Engine) -> Newsroom:
        room = Newsroom(engine, Clock())
        room.channels(1, 2)
        return room

    @pytest.fixture
    def propose(self, newsroom: Newsroom) -> Callable[..., dict[int, Candidate]]:
        """What is left of these articles' candidates, in a channel, for a reader who has seen
        some."""
        catalogue = Catalogue(newsroom.engine, newsroom.clock, newsroom.read_now)

        def propose(
            *proposed: Candidate, channel_id: int = 0, seen: Sequence[int] = ()
        ) -> dict[int, Candidate]:
            catalogue.refresh()
            return filter_candidates(
                proposed, Question(channel_id, 10, NOW_MS, frozenset(seen)), catalogue
            )

        return propose

    def test_what_was_seen_is_dropped(
        self, newsroom: Newsroom, propose: Callable[..., dict[int, Candidate]]
    ) -> None:
        """Every source may propose what the reader knows; the filter is where it ends."""
        old, new = newsroom.articles(2)

        assert set(propose(candidate(old), candidate(new), seen=[old])) == {new}

    def test_another_channels_article_is_dropped_except_for_you(
        self, newsroom: Newsroom, propose: Callable[..., dict[int, Candidate]]
    ) -> None:
        """A candidate of channel 1 has no place in channel 2; "for you" takes any."""
        id_ = newsroom.article(channel_id=1)

        assert [set(propose(candidate(id_), channel_id=channel)) for channel in (0, 1, 2)] == [
            {id_},
            {id_},
            set(),
        ]

    def test_what_is_no_longer_visible_is_dropped(
        self, newsroom: Newsroom, propose: Callable[..., dict[int, Candidate]]
    ) -> None:
        """Taken down since a source looked, not due yet, or never there at all."""
        gone, future = (
            newsroom.article(status="taken_down"),
            newsroom.article(published_ms=NOW_MS + HOUR_MS),
        )

        assert propose(candidate(gone), candidate(future), candidate(10**12)) == {}

    def test_an_article_proposed_twice_is_kept_once_with_both_scores(
        self, newsroom: Newsroom, propose: Callable[..., dict[int, Candidate]]
    ) -> None:
        """What two sources agree on is one candidate that both speak for."""
        id_ = newsroom.article()
        kept = propose(candidate(id_, latest=0.5), candidate(id_, hot=0.7))

        assert {id_: {LATEST: 0.5, HOT: 0.7}} == {key: one.scores for key, one in kept.items()}
        assert kept[id_].source == HOT


class TestRank:
    """One number for each candidate, and the order that follows from it."""

    def test_the_score_is_the_blend_of_the_sources(self) -> None:
        """What only one source proposed is worth nothing to the others; a source without weight
        adds nothing."""
        made = [
            candidate(1, hot=1.0),
            candidate(2, latest=1.0, hot=0.5),
            candidate(3, latest=1.0),
            candidate(4, again=1),
        ]
        ranked = rank(made)

        assert ids(ranked) == [2, 1, 3, 4]
        expected = [0.7, HOT.weight, LATEST.weight, 0.0]
        assert expected == pytest.approx([one.score for one in ranked])

    def test_ties_go_to_the_newer_and_then_to_the_higher_id(self) -> None:
        """Equal scores have an order of their own, so that a page is not a matter of chance."""
        made = [
            candidate(1, age_ms=5),
            candidate(2, age_ms=5),
            candidate(3, age_ms=9),
            candidate(4, age_ms=1),
        ]

        assert ids(rank(made)) == [4, 2, 1, 3]

    @given(ranked_candidates, st.randoms())
    def test_the_order_does_not_depend_on_who_came_first(
        self, ranked: list[Candidate], rng: random.Random
    ) -> None:
        """The same candidates come out in the same order, however the sources happened to
        answer."""
        shuffled = list(ranked)
        rng.shuffle(shuffled)

        assert ids(ranked) == ids(rank(shuffled))


class TestMix:
    """From the best articles to a good page."""

    @given(ranked_candidates, st.integers(1, 30))
    def test_a_page_is_as_long_as_it_can_be_and_repeats_nothing(
        self, ranked: list[Candidate], wanted: int
    ) -> None:
        """Never longer than wanted, and shorter only when there are no more candidates of any
        author."""
        page = ids(mix(ranked, wanted))

        assert len(page) == min(wanted, len(ranked))
        assert len(page) == len({*page})
        assert {*page} <= {*ids(ranked)}

    @given(ranked_candidates, st.integers(1, 30))
    def test_mixing_is_repeatable(self, ranked: list[Candidate], wanted: int) -> None:
        """The same candidates make the same page, and the ranking that was handed in is left as it
        was."""
        before = list(ranked)

        assert ids(mix(ranked, wanted)) == ids(mix(ranked, wanted))
        assert before == ranked

    @given(ranked_candidates, st.integers(1, 30))
    def test_an_author_gets_no_more_than_a_share_while_others_wait(
        self, ranked: list[Candidate], wanted: int
    ) -> None:
        """Three places in ten, not one more while an author with less was left out; unsigned
        articles are free."""
        most = max(1, -(-wanted * 3 // 10))
        page = mix(ranked, wanted)
        on_page = Counter(one.entry.author_id for one in page if one.entry.author_id is not None)
        waiting = [one.entry.author_id for one in ranked if one not in page]
        could_have = [author for author in waiting if author is None or on_page[author] < most]

        assert not could_have or max(on_page.values(), default=0) <= most

    def test_a_page_by_one_author_is_still_full(self) -> None:
        """The cap is for choosing between authors; where there is only one it has nothing to
        say."""
        ranked = rank([candidate(id_, author_id=1, latest=id_ / 100) for id_ in range(1, 21)])

        assert len(mix(ranked, 10)) == 10

    def test_one_place_in_five_goes_to_the_newest_that_was_left_out(self) -> None:
        """Popular articles fill the page; what came out just now and is unread gets the fifth and
        the tenth."""
        popular = [candidate(id_, age_ms=HOUR_MS, hot=1.0) for id_ in range(1, 31)]
        fresh = [candidate(id_, age_ms=100 - id_, latest=0.1) for id_ in (50, 51, 52)]
        page = ids(mix(rank([*popular, *fresh]), 10))

        assert (page[EXPLORE_EVERY - 1], page[2 * EXPLORE_EVERY - 1]) == (52, 51)
        assert {*page} - {51, 52} <= {*ids(popular)}

    def test_a_short_page_has_no_place_for_exploring(self) -> None:
        """Where four articles are wanted, the four best are shown."""
        ranked = rank(
            [candidate(1, latest=0.1), *(candidate(id_, age_ms=9, hot=0.9) for id_ in range(2, 8))]
        )

        assert ids(ranked)[:4] == ids(mix(ranked, 4))
