"""What is folded from the clicks of all readers: counted, bounded, and the same in every worker."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.signals.counters import HALF_LIVES_S, Counters, Kind, context_column
from services.recommender.signals.folding import AHEAD_S, INACTIVE_S, RING, TABLED, Click, Signals
from services.recommender.signals.sessions import IDLE_S, LONGEST, Sessions
from services.recommender.signals.walk import PRIOR, Window
from tidings.reading.contexts import Context, Device, Referrer

NOW_S = 1_790_000_000
DESK = Context(Device.DESKTOP, Referrer.INTERNAL).code
PHONE = Context(Device.MOBILE, Referrer.SEARCH).code


def click(
    reader_id: int, article_id: int, at_s: int = NOW_S, context: int = 0, *, undone: bool = False
) -> Click:
    return Click(reader_id, article_id, at_s, context, undone)


def folded(clicks: Iterable[Click], now_s: float = NOW_S) -> Signals:
    signals = Signals(sessions=1024)
    signals.fold(clicks, now_s)
    return signals


def shares(signals: Signals, kind: Kind) -> dict[int, float]:
    """Article → its share of what is counted."""
    slots, ids = signals.active()
    counts = signals.counters.of(kind)[slots] / signals.counters.total(kind)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def walked(
    signals: Signals, session: Sequence[int], window: Window = Window.M20, now_s: float = NOW_S
) -> dict[int, float]:
    """Article → its sum over the walk from this session."""
    walk = signals.walk(session, [], context=0, now_s=now_s)
    ids = signals.ids_of(walk.slots).tolist()
    return dict(zip(ids, walk.sums(window).tolist(), strict=True))


class TestCounters:
    """Clicks with forgetting."""

    def test_a_click_counts_half_after_a_half_life(self) -> None:
        """Two clicks on one article a half-life ago are one on another now."""
        ago = NOW_S - int(HALF_LIVES_S[Kind.ALL_5M])
        signals = folded([click(1, 10, ago), click(2, 10, ago), click(3, 11)])

        assert shares(signals, Kind.ALL_5M) == pytest.approx({10: 0.5, 11: 0.5})
        assert shares(signals, Kind.ALL_3H)[10] > 0.6

    @given(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200_000)), min_size=1), st.randoms()
    )
    def test_the_order_in_which_clicks_arrive_does_not_matter(
        self, made: list[tuple[int, int]], rng: random.Random
    ) -> None:
        """Nor does the moment at which the reference moves on, for days of clicks."""

        def totals(some: list[tuple[int, int]]) -> dict[tuple[Kind, int], float]:
            counters = Counters()
            for slot, ago_s in some:
                counters.add([slot], [NOW_S - ago_s], is_later=[True], contexts=[0], signs=[1.0])
            newest = NOW_S - min(ago_s for _, ago_s in some)
            return {
                (kind, slot): float(counters.of(kind)[slot]) * counters.scale(kind, newest)
                for kind in Kind
                for slot in range(6)
            }

        shuffled = list(made)
        rng.shuffle(shuffled)

        assert totals(made) == pytest.approx(totals(shuffled), abs=1e-9)

    def test_only_later_clicks_of_a_session_count_as_chosen_from_a_page(self) -> None:
        """The first click may have come from a link elsewhere."""
        signals = folded([click(1, 10), click(1, 11), click(2, 10)])

        assert shares(signals, Kind.LATER_20M) == pytest.approx({10: 0.0, 11: 1.0})

    def test_what_is_read_on_a_telephone_is_counted_apart(self) -> None:
        """By device and referrer; an unknown device of a newer release counts as unknown."""
        signals = folded([click(1, 10, context=DESK), click(2, 11, context=PHONE)])
        slots = signals.slots_of([10, 11])
        share = signals.counters.share_in_context

        assert share(slots, context_column(DESK)).tolist() == pytest.approx([1.0, 0.0])
        assert share(slots, context_column(PHONE)).tolist() == pytest.approx([0.0, 1.0])
        assert context_column(0xFF) == 0


class TestSessions:
    """Which clicks belong together, and how many of one reader's count."""

    def test_a_session_ends_after_thirty_idle_minutes(self) -> None:
        """The click after the pause is the first of another session."""
        later = NOW_S + IDLE_S + 1
        signals = folded([click(1, 10), click(1, 11), click(1, 12, later)], later)

        assert walked(signals, [10], now_s=later).keys() == {11}
        assert walked(signals, [12], now_s=later) == {}

    def test_a_repeated_click_counts_once(self) -> None:
        """A reader who goes back and forth between two articles has read two."""
        signals = Signals(sessions=16)

        assert signals.fold([click(1, 10), click(1, 11)] * 500, NOW_S) == 2

    def test_a_million_clicks_of_one_reader_are_a_hundred(self) -> None:
        """Whatever one reader reports moves what all readers see by a hundred clicks a session."""
        signals = Signals(sessions=1024)
        flood = [click(1, id_, NOW_S - 10 + id_ // 100_000) for id_ in range(1_000_000)]
        counted = signals.fold(flood, NOW_S)
        signals.fold([click(2, 5), click(2, 6)], NOW_S)

        assert counted == LONGEST
        assert walked(signals, [5])[6] > 0

    def test_a_straggler_counts_but_joins_no_session(self) -> None:
        """What arrives an hour late was clicked, though nobody can say any more before what."""
        signals = folded([click(1, 10), click(1, 11, NOW_S - 3600)])

        assert walked(signals, [10]) == {}
        assert shares(signals, Kind.ALL_1H)[11] > 0

    def test_sessions_longer_than_ten_keep_the_order_of_their_clicks(self) -> None:
        """The eleventh click writes over the first; what followed what is still known."""
        signals = folded([click(1, id_) for id_ in range(10, 25)])
        walk = signals.walk([20], [], context=0, now_s=NOW_S)
        nearest = signals.ids_of(walk.slots)[walk.adjacent().argmax()]

        assert nearest == 21
        assert walked(signals, [20]).keys() >= {21, 22, 23, 24}
        assert {id_ for id_, value in walked(signals, [20]).items() if value} == {21, 22, 23, 24}

    def test_an_old_session_makes_room_and_leaves_nothing_behind(self) -> None:
        """A table of four sessions knows the last four readers' clicks and no mixture of them."""
        signals = Signals(sessions=4)
        for reader in range(10):
            signals.fold([click(reader, 10), click(reader, 20 + reader)], NOW_S)

        found = walked(signals, [10])
        assert found.keys() == {26, 27, 28, 29}
        assert found == pytest.approx(dict.fromkeys(found, 1 / (4 + PRIOR)))


class TestBadInput:
    """What readers' clocks and programs send."""

    def test_a_click_from_the_future_changes_nothing(self) -> None:
        """One event stamped next year would make everything else a year old."""
        signals = folded([click(1, 10), click(2, 11, NOW_S + 365 * 86400), click(3, 12, -5)])

        assert shares(signals, Kind.ALL_5M) == {10: 1.0}
        assert signals.fold([click(4, 13, NOW_S + AHEAD_S)], NOW_S) == 1

    def test_a_clock_that_is_set_back_an_hour_disturbs_nothing(self) -> None:
        """What was clicked an hour "ahead" is the newest there is, and no more than that."""
        clicks = [click(reader, id_) for reader in range(5) for id_ in (10, 11)]
        before = folded(clicks)
        found = walked(before, [10], now_s=NOW_S - 3600)

        assert found == walked(before, [10])
        assert before.fold([click(9, 12, NOW_S - 3600)], NOW_S - 3600) == 1

    def test_a_click_that_was_taken_back_is_not_counted(self) -> None:
        """Neither in the counters nor in the walk; taken back twice, it is gone once."""
        undone = click(1, 11, undone=True)
        signals = folded([click(1, 10), click(1, 11), undone, undone, click(2, 10), click(2, 12)])

        assert walked(signals, [10]).keys() == {12}
        assert shares(signals, Kind.ALL_5M) == pytest.approx({10: 2 / 3, 11: 0.0, 12: 1 / 3})

    def test_taking_back_what_was_never_clicked_does_nothing(self) -> None:
        assert folded([click(1, 10), click(1, 99, undone=True), click(5, 10, undone=True)])


class TestBounds:
    """Memory follows what is read now, and not what ever was."""

    def test_articles_are_found_by_ids_of_any_size(self) -> None:
        """Those that no table holds too; they are forgotten like the others."""
        ids = [0, 10, TABLED - 1, TABLED, 2**62]
        signals = folded(click(1, article_id) for article_id in ids)

        assert signals.ids_of(signals.slots_of(ids)).tolist() == ids
        assert signals.ids_of(signals.slots_of(ids[:3])).tolist() == ids[:3]
        assert signals.slots_of([-1, 11, 2**61]).tolist() == [-1, -1, -1]
        later = NOW_S + INACTIVE_S + 7200
        signals.fold([click(2, 20, later)], later)
        assert signals.slots_of(ids).tolist() == [-1] * len(ids)
        assert signals.slots_of([10, 11]).tolist() == [-1, -1]

    def test_an_article_that_nobody_clicks_for_a_day_is_dropped(self) -> None:
        """Its slot goes to another article, and old sessions do not lend it their clicks."""
        later = NOW_S + INACTIVE_S + 7200
        signals = folded([click(1, 10), click(1, 11)])
        signals.fold([click(2, 20, later), click(2, 21, later)], later)

        assert signals.slots_of([10, 11]).tolist() == [-1, -1]
        assert walked(signals, [20], now_s=later).keys() == {21}
        assert shares(signals, Kind.ALL_5M) == pytest.approx({20: 0.5, 21: 0.5})

    def test_more_active_articles_than_there_is_room_for_drop_the_oldest(self) -> None:
        """A catalogue under attack by clicks on every article keeps what was clicked last."""
        signals = Signals(sessions=64, most_active=100)
        signals.fold(
            [click(reader, reader, NOW_S - 1000 + reader) for reader in range(1000)], NOW_S
        )
        _, ids = signals.active()

        assert len(ids) <= 100
        assert {*range(950, 1000)} <= {*ids.tolist()}

    def test_an_article_remembers_its_last_six_hundred_clicks(self) -> None:
        """A thousand readers went on to one article, and then six hundred to another."""
        clicks = [(reader, 20 if reader < 1000 else 21) for reader in range(1000 + RING)]
        signals = Signals(sessions=4096)
        signals.fold((click(reader, id_) for reader, to in clicks for id_ in (10, to)), NOW_S)

        assert walked(signals, [10]).keys() == {21}


@given(st.integers(0, 10**6))
def test_walks_agree_with_counting_by_hand(seed: int) -> None:
    """Against lists and loops, on sessions that one seed makes."""
    rng = random.Random(seed)
    logs = [rng.sample(range(1, 9), rng.randrange(1, 6)) for _ in range(30)]
    signals = folded(click(reader, id_) for reader, ids in enumerate(logs) for id_ in ids)
    session = rng.sample(range(1, 9), 3)
    expected: dict[int, float] = defaultdict(float)
    for place, article_id in enumerate(session):
        with_it = [ids for ids in logs if article_id in ids]
        for ids in with_it:
            for later in ids[ids.index(article_id) + 1 :]:
                expected[later] += 1 / ((place + 1) * (len(with_it) + PRIOR))
    found = {id_: value for id_, value in walked(signals, session).items() if value}

    assert found == pytest.approx(dict(expected))


def test_two_workers_that_read_the_same_log_agree() -> None:
    """However the log was cut into pieces: to the last bit, in every signal."""
    rng = random.Random(3)
    log = sorted(
        (
            click(rng.randrange(200), rng.randrange(60), NOW_S - rng.randrange(40_000), DESK)
            for _ in range(5000)
        ),
        key=lambda one: one.at_s,
    )
    whole, pieces = Signals(sessions=128), Signals(sessions=128)
    whole.fold(log, NOW_S)
    while log:
        size = rng.randrange(1, 300)
        pieces.fold(log[:size], NOW_S)
        log = log[size:]

    for session in ([1], [2, 3], [4, 5, 6, 7]):
        assert walked(whole, session) == walked(pieces, session)
    for kind in Kind:
        assert shares(whole, kind) == pytest.approx(shares(pieces, kind))


def test_the_same_context_weighs_more() -> None:
    """A reader on a telephone, from a search, gets what such readers went on to."""
    signals = Signals(sessions=64)
    for reader in range(10):
        context, to = (PHONE, 20) if reader < 5 else (DESK, 21)
        signals.fold(
            [click(reader, 10, context=context), click(reader, to, context=context)], NOW_S
        )
    walk = signals.walk([10], [], context=PHONE, now_s=NOW_S)
    ids = signals.ids_of(walk.slots).tolist()
    alike = dict(zip(ids, walk.neighbours().tolist(), strict=True))
    following = dict(zip(ids, walk.next_share_of_context().tolist(), strict=True))

    assert alike[20] == pytest.approx(alike[21] / 0.16)
    assert following[20] > 0
    assert following[21] == 0


def test_the_sessions_are_what_a_walk_gathers() -> None:
    """The tables that numpy reads are the ones that Python writes."""
    sessions = Sessions(4)
    place = sessions.place(7, 3, NOW_S, DESK)

    assert np.flatnonzero(sessions.articles == 3).tolist() == [place.entry & 15]
    assert (sessions.times == NOW_S).sum() == 1
    assert sessions.contexts[0] == DESK
