"""Choosing a batch: from the question alone, for every reader, and never empty while there is an
article."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from services.recommender.catalogue import make_view
from services.recommender.cut import RANKED, cut
from services.recommender.features import FEATURES, TASTE_FEATURES, make_features
from services.recommender.question import Question
from services.recommender.rank.blend import Blend
from services.recommender.signals.folding import Signals
from services.recommender.sources.again import AGAIN
from services.recommender.sources.backlog import BACKLOG, recall_backlog
from services.recommender.sources.hot import HOT, MOST_PROPOSED, Hot, made_anew_ms
from services.recommender.sources.latest import LATEST
from services.recommender.sources.neighbours import NEIGHBOURS
from services.recommender.trace import Trace
from services.recommender.walks import Walks
from tests.lab.feeds import MINUTE_MS, NOW_MS, Room, a_view, candidates, question, reader
from tidings.reading.reader_state import Hidden


class TestReaders:
    """What each reader gets."""

    def test_a_new_reader_gets_what_is_read_now_and_something_new(self) -> None:
        """A good front page at once: the two articles that others read come first."""
        room = Room(a_view(50))
        for other in range(10, 20):
            room.click(other, 3, 4)
        chosen = room.choose(question())

        assert {3, 4} == {*chosen.ids[:2].tolist()}
        assert LATEST.number in chosen.sources.tolist()
        assert len(chosen.ids) == 10

    def test_the_readers_own_last_click_counts_at_once(self) -> None:
        """Though no log has it yet: it stands in the reader's state. Another reader's feed does
        not change."""
        room = Room(a_view(50))
        for other in range(10, 15):
            room.click(other, 3, 30)
            room.click(100 + other, 4, 31)
        before = room.choose(question())
        after = room.choose(question(reader(clicks=[3])))

        assert after.ids[0] == 30
        assert after.reasons[0] == (NEIGHBOURS.name, 3)
        assert before.ids.tolist() == room.choose(question()).ids.tolist()

    def test_a_site_without_a_click_shows_its_newest(self) -> None:
        """On the first day, newest first."""
        assert Room(a_view(30)).choose(question(wanted=5)).ids.tolist() == [30, 29, 28, 27, 26]

    def test_an_empty_catalogue_gives_an_empty_batch(self) -> None:
        room = Room(make_view([], [], [], []))
        room.click(1, 10, 11)

        assert room.choose(question(reader(clicks=[10]))).ids.tolist() == []

    def test_a_channel_shows_its_own_articles_only(self) -> None:
        """However much is read elsewhere; and a channel with one article shows that one."""
        room = Room(a_view(30, channels={7: 2}))
        room.click(1, 3, 4)

        assert room.choose(question(channel_id=2)).ids.tolist() == [7]

    def test_what_was_hidden_seen_or_excluded_is_not_shown(self) -> None:
        """On every path: signals, newest, backlog, and what is shown again."""
        room = Room(a_view(12, channels={5: 3}, authors={6: 9}))
        room.click(1, *range(1, 13))
        hidden = Hidden(frozenset({4}), frozenset({9}), frozenset({3}))
        state = reader(clicks=[1], seen=[2], hidden=hidden)
        chosen = room.choose(question(state, wanted=100, exclude=[3]))

        assert {*chosen.ids.tolist()} == {1, 2, 7, 8, 9, 10, 11, 12}
        assert chosen.ids[-2:].tolist() == state.shown_before
        assert chosen.sources[-2:].tolist() == [AGAIN.number] * 2

    def test_what_is_not_published_yet_is_on_no_path(self) -> None:
        """Not even if it is clicked already, by an editor's preview."""
        view = make_view([1, 2], [1, 1], [0, 0], [NOW_MS - 1, NOW_MS + 1])
        room = Room(view)
        room.click(1, 1, 2)

        assert room.choose(question(reader(clicks=[1]))).ids.tolist() == [1]

    def test_what_was_taken_down_is_proposed_by_no_signal(self) -> None:
        """Its clicks are still there, its row is not."""
        room = Room(a_view(3))
        room.click(1, 1, 2, 99)

        assert {*room.choose(question(reader(clicks=[1]))).ids.tolist()} <= {1, 2, 3}


class TestBacklog:
    """A feed ends only where its channel ends."""

    def test_pages_follow_each_other_to_the_last_article_and_then_from_the_first(self) -> None:
        """Sixty batches over six hundred articles repeat none; the next one is the first again."""
        room = Room(a_view(600))
        seen: list[int] = []
        for _ in range(60):
            ids = room.choose(question(reader(seen=seen))).ids.tolist()
            assert not {*ids} & {*seen}
            seen += ids
        assert sorted(seen) == list(range(1, 601))
        again = room.choose(question(reader(seen=seen)))

        assert again.ids.tolist() == seen[:10]
        assert {*again.sources.tolist()} == {AGAIN.number}

    def test_the_backlog_is_walked_only_where_all_else_is_exhausted(self) -> None:
        """What is older than the newest five hundred, to a reader who has seen those."""
        room = Room(a_view(2000))
        fresh = room.choose(question())
        old = room.choose(question(reader(seen=range(1000, 2001))))

        assert BACKLOG.number not in fresh.sources.tolist()
        assert old.ids.tolist() == list(range(999, 989, -1))
        assert {*old.sources.tolist()} == {BACKLOG.number}

    def test_the_backlog_goes_on_past_whatever_does_not_fit(self) -> None:
        """Thousands of a hidden channel lie before the one article that is left."""
        view = a_view(5000, channels=dict.fromkeys(range(2, 5001), 2))
        asked = question(reader(hidden=Hidden(channels=frozenset({2}))))
        found = recall_backlog(asked, view, taken=np.empty(0, np.int64), number=10)

        assert view.ids[found.rows].tolist() == [1]


class TestHot:
    """What is read a lot just now."""

    @pytest.fixture
    def room(self) -> Room:
        room = Room(a_view(500, channels={id_: 1 + id_ % 2 for id_ in range(1, 501)}))
        for other in range(1, 4):
            room.click(other, *range(10, 10 + 20 * other))
        return room

    def ids(self, room: Room, hot: Hot, asked: Question) -> list[int]:
        found: list[int] = room.view.ids[hot(asked, room.view).rows].tolist()
        return found

    def test_the_most_read_come_first_in_each_channel(self, room: Room) -> None:
        """What three readers chose is before what one did."""
        hot = Hot(room.signals)
        every, second = self.ids(room, hot, question()), self.ids(room, hot, question(channel_id=2))

        assert {*every[:19]} == {*range(11, 30)}
        assert {*second} == {id_ for id_ in range(10, 70) if id_ % 2}
        assert self.ids(room, hot, question(channel_id=77)) == []

    def test_the_lists_are_made_anew_every_second(self, room: Room) -> None:
        """And once more after the clock was set back. Where a hundred thousand articles are read,
        which costs ten times as much, every ten seconds."""
        every_ms = made_anew_ms(200)
        assert (every_ms, made_anew_ms(100_000)) == (1000, 10_000)
        hot = Hot(room.signals)
        self.ids(room, hot, question())
        for other in range(100, 200):
            room.click(other, 300, 400)
        soon = self.ids(room, hot, question(now_ms=NOW_MS + every_ms - 1))
        then = self.ids(room, hot, question(now_ms=NOW_MS + every_ms))
        back = self.ids(room, hot, question(now_ms=NOW_MS - 3_600_000))

        assert 400 not in soon
        assert then[0] == back[0] == 400

    def test_no_more_than_two_hundred_are_proposed(self) -> None:
        room = Room(a_view(500))
        for other in range(10):
            room.click(other, *range(1 + other * 50, 51 + other * 50))

        assert len(self.ids(room, Hot(room.signals), question())) == MOST_PROPOSED


class TestCut:
    """Which candidates are worth all features."""

    def test_a_hundred_are_kept_and_each_sources_reserve_besides(self) -> None:
        """What nobody has read has no chance among what is read, and gets the places kept for
        it."""
        view = a_view(400)
        room = Room(view)
        for other in range(8):
            room.click(other, *range(1 + 25 * other, 26 + 25 * other))
        ids = list(range(1, 401))
        sources = [HOT.number if id_ <= 200 else LATEST.number for id_ in ids]
        some = candidates(ids, view, sources=sources, strengths=ids)
        walks = Walks(room.signals)
        kept = cut(
            some, walks.of(question()), room.signals, most=RANKED, reserved={LATEST.number: 10}
        )

        assert (kept.sources == HOT.number).sum() == RANKED
        assert kept.ids[kept.sources == LATEST.number].tolist() == list(range(391, 401))


class TestRank:
    """One number for each candidate, from its features alone."""

    def test_features_are_finite_for_a_reader_nothing_is_known_of(self) -> None:
        """Nothing is divided by nothing: no clicks at all, and an article from the future."""
        view = a_view(5)
        signals = Signals(sessions=4)
        asked = question(now_ms=NOW_MS - MINUTE_MS)
        walk = Walks(signals).of(asked).walk
        made = make_features(
            candidates([1, 5], view),
            walk,
            signals,
            question=asked,
            view=view,
            taste=lambda some, *_: np.zeros((len(some), len(TASTE_FEATURES)), np.float32),
        )

        assert made.shape == (2, len(FEATURES))
        assert np.isfinite(made).all()

    def test_a_nan_in_the_taste_is_as_good_as_unknown(self) -> None:
        """One broken number must not make an order of chance."""
        view = a_view(2)
        signals = Signals(sessions=4)
        asked = question()
        made = make_features(
            candidates([1, 2], view),
            Walks(signals).of(asked).walk,
            signals,
            question=asked,
            view=view,
            taste=lambda some, *_: np.full((len(some), len(TASTE_FEATURES)), np.nan, np.float32),
        )

        assert (made[:, -3:] == 0).all()

    def test_the_blend_orders_by_neighbours_first_and_taste_beside_them(self) -> None:
        """Of two that follow the session equally, the one of the liked channel comes first; what
        nothing tells apart goes by age."""

        def scores(*rows: dict[str, float]) -> Sequence[float]:
            features = np.zeros((len(rows), len(FEATURES)), np.float32)
            for number, row in enumerate(rows):
                for name, value in row.items():
                    features[number, FEATURES.index(name)] = value
            found: list[float] = Blend().score(features).tolist()
            return found

        near, liked, disliked = scores(
            {"neighbours": 1}, {"neighbours": 1, "channel": 0.5}, {"neighbours": 1, "author": -1}
        )
        assert liked > near > disliked
        young, old = scores({"age_h": 1}, {"age_h": 2})
        assert young > old
        assert Blend().score(np.zeros((0, len(FEATURES)), np.float32)).tolist() == []


class TestTrace:
    """Why each article is there, or is not."""

    def test_every_proposed_article_is_in_the_batch_or_has_a_reason(self) -> None:
        """What was proposed by which source, dropped, cut, ranked and mixed away."""
        room = Room(a_view(300, channels={40: 2}))
        for other in range(6):
            room.click(other, *range(1 + 40 * other, 45 + 40 * other))
        asked = question(reader(clicks=[36], seen=[41]), channel_id=1)
        trace = Trace()
        chosen = room.choose(asked, trace)
        proposed = {id_ for some in trace.proposed.values() for id_ in some}

        assert trace.dropped[40] == "other_channel"
        assert trace.dropped[41] == "seen"
        assert {"cut", "mix"} <= {*trace.dropped.values()}
        assert proposed - {*trace.dropped} == {*chosen.ids.tolist()}
        assert trace.ranked is not None
        assert trace.ranked.ids.tolist() == chosen.ranked_ids.tolist()
        assert {"recall", "filter", "cut", "rank", "mix"} == {*trace.steps_ms}
        assert all(math.isfinite(score) for score in trace.ranked.scores)


def test_the_same_question_has_the_same_answer() -> None:
    """Nothing but the question, the signals and the catalogue decides: no clock, no chance."""
    room = Room(a_view(100))
    for other in range(10):
        room.click(other, *range(other + 1, other + 30))
    asked = question(reader(clicks=[4, 9]))
    first = room.choose(asked)

    assert first.ids.tolist() == room.choose(replace(asked)).ids.tolist()
    assert first.ranked_ids.tolist() == room.choose(asked).ranked_ids.tolist()
