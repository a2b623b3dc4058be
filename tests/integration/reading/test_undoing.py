"""What readers take back, and what they mark: one mark a reader and article, in whatever way and
order its setting and undoing arrive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from tests.lab.histories import make_history
from tests.lab.newsroom import HOUR_MS, NOW_MS, Clock, Newsroom
from tidings.news.tables import article_count
from tidings.process.clock import moment
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours, Report, Verdict, fold
from tidings.reading.events import MARKS, Event, Target
from tidings.reading.marks import After, find_marks_on, list_marks
from tidings.reading.noting import ReaderNotes
from tidings.reading.popularity import WINDOWS
from tidings.reading.storing import Placed, store_events
from tidings.reading.tables import act_tally, behaviour, mark, shown_tally
from tidings.reading.tallies import read_scores
from tidings.reading.tracking import Shown, Tracker
from tidings.store.engine import transaction

READER, CHANNEL = 7, 1
STAMP_MS = NOW_MS - HOUR_MS


class Site(Newsroom):
    """A newsroom whose readers report to a gateway, and what is stored of it."""

    def __init__(self, engine: Engine, client: redis.Redis, clock: Clock) -> None:
        super().__init__(engine, clock)
        self.redis = client
        self.tracker = Tracker([b"k" * 32])
        self.door = Behaviours(
            client, self.tracker, ReaderNotes(ttl_s=3600), backlog_limit=1000, clock=clock
        )

    def token(self, action: Action, article_id: int, stamp_ms: int = STAMP_MS) -> str:
        shown = Shown(action, READER, CHANNEL, stamp_ms, article_id)
        return self.tracker.issue(shown, self.clock())

    def report(self, token: str, *, undone: bool = False) -> Verdict:
        (verdict,) = self.door.report([Report(token, undone=undone)])
        return verdict

    def put(self, action: Action, article_id: int) -> None:
        self.door.set_mark(READER, action, Target.ARTICLE, article_id)

    def delete(self, action: Action, article_id: int) -> None:
        self.door.set_mark(READER, action, Target.ARTICLE, article_id, undone=True)

    def fold(self) -> None:
        while fold(self.engine, self.redis, consumer="test"):
            pass

    def count(self, action: Action, article_id: int) -> int:
        """What the article's counter says once everything is folded."""
        self.fold()
        return self.counts(article_id).get(action.label, 0)

    def marks_on(self, article_id: int) -> set[Action]:
        self.fold()
        with self.engine.connect() as conn:
            return find_marks_on(conn, READER, article_id)

    def score(self, article_id: int) -> float:
        """What the rankings make of it."""
        self.fold()
        with self.engine.connect() as conn:
            return read_scores(conn, moment(self.clock()), WINDOWS).get(article_id, 0.0)

    def state_acts(self) -> set[tuple[Action, int]]:
        """What the reader's next request will know of their acts."""
        state = make_history(self.redis).read(READER)
        return {(acted.action, acted.article_id) for acted in state.acts}

    def hidden(self) -> frozenset[int]:
        return make_history(self.redis).read(READER).hidden.articles


@pytest.fixture
def site(engine: Engine, redis_client: redis.Redis) -> Site:
    site = Site(engine, redis_client, Clock())
    site.channels(1, 2)
    site.authors(3)
    return site


@pytest.mark.parametrize("action", [Action.CLICK, Action.READING, *MARKS])
def test_an_act_is_taken_back_in_every_place_where_it_counted(site: Site, action: Action) -> None:
    """The counter, the rankings, the mark and what the next request knows are as if it had not
    been; and taking it back twice takes it back once."""
    article_id = site.article()
    token = site.token(action, article_id)
    site.report(token)
    assert site.count(action, article_id) == 1
    assert site.state_acts() == {(action, article_id)}

    for _ in range(2):
        assert site.report(token, undone=True) is Verdict.ACCEPTED
    assert site.state_acts() == set()
    assert site.count(action, article_id) == 0
    assert site.score(article_id) == 0
    assert site.marks_on(article_id) == set()
    with site.engine.connect() as conn:
        assert sum(conn.scalars(select(shown_tally.c.acts))) == 0


@pytest.mark.parametrize("folds_between", [True, False])
@pytest.mark.parametrize("action", [Action.CLICK, Action.LIKING])
def test_an_undoing_that_arrives_first_ends_undone(
    site: Site, action: Action, folds_between: bool
) -> None:
    """A telephone that was offline sends in any order."""
    article_id = site.article()
    token = site.token(action, article_id)
    site.report(token, undone=True)
    if folds_between:
        site.fold()
    site.report(token)

    assert site.count(action, article_id) == 0
    assert site.marks_on(article_id) == set()
    assert site.state_acts() == set()


def test_after_an_undoing_the_token_is_used_up_and_a_newer_batchs_acts(site: Site) -> None:
    """What is sent again by a telephone that had no answer is no second liking; what a reader
    presses on a newer page is."""
    article_id = site.article()
    token = site.token(Action.LIKING, article_id)
    site.report(token)
    site.report(token, undone=True)
    site.report(token)
    assert site.count(Action.LIKING, article_id) == 0

    site.report(site.token(Action.LIKING, article_id, STAMP_MS + 1))
    assert site.count(Action.LIKING, article_id) == 1
    assert site.marks_on(article_id) == {Action.LIKING}


@pytest.mark.parametrize("action", MARKS)
def test_a_request_and_a_token_are_one_act_whichever_comes_second(
    site: Site, action: Action
) -> None:
    """A reader likes an article once, however often and wherever they press."""
    first, second = site.articles(2)
    site.put(action, first)
    site.report(site.token(action, first))
    site.report(site.token(action, second))
    site.put(action, second)
    site.put(action, second)
    site.report(site.token(action, second, STAMP_MS + 1))

    assert [site.count(action, article_id) for article_id in (first, second)] == [1, 1]
    # Undoing through the other way takes the one act back.
    site.report(site.token(action, first), undone=True)
    site.delete(action, second)
    assert [site.count(action, article_id) for article_id in (first, second)] == [0, 0]
    # The tokens that were repeats are used up like the one that acted.
    site.report(site.token(action, first))
    site.report(site.token(action, second))
    site.report(site.token(action, second, STAMP_MS + 1))
    assert [site.count(action, article_id) for article_id in (first, second)] == [0, 0]
    # A request may set it again as often as the reader likes.
    for _ in range(2):
        site.clock.advance(1)
        site.put(action, first)
        assert site.count(action, first) == 1
        site.clock.advance(1)
        site.delete(action, first)
        assert site.count(action, first) == 0


def test_an_exposure_cannot_be_taken_back(site: Site) -> None:
    """What was seen was seen."""
    token = site.tracker.issue(Shown(Action.EXPOSURE, READER, CHANNEL, STAMP_MS), site.clock())

    assert site.report(token, undone=True) is Verdict.REFUSED


def test_a_dislike_hides_at_once_and_its_undoing_shows_again(site: Site) -> None:
    """By token and by request; the state that the next feed is chosen from knows before SQL."""
    by_token, by_request = site.articles(2)
    site.report(site.token(Action.DISLIKE, by_token))
    site.put(Action.DISLIKE, by_request)
    assert site.hidden() == {by_token, by_request}

    site.report(site.token(Action.DISLIKE, by_token), undone=True)
    site.delete(Action.DISLIKE, by_request)
    assert site.hidden() == frozenset()

    # Sent again by a telephone that had no answer, the token hides nothing; a newer one does.
    site.report(site.token(Action.DISLIKE, by_token))
    assert site.hidden() == frozenset()
    site.report(site.token(Action.DISLIKE, by_token, STAMP_MS + 1))
    assert site.hidden() == {by_token}


def test_an_author_and_a_channel_are_hidden_and_shown_again(site: Site) -> None:
    """They have no counter; the mark and the reader's state know them."""
    for target, id_ in ((Target.AUTHOR, 3), (Target.CHANNEL, 2)):
        site.door.set_mark(READER, Action.DISLIKE, target, id_)
        site.clock.advance(1)
    hidden = make_history(site.redis).read(READER).hidden
    assert (set(hidden.authors), set(hidden.channels)) == ({3}, {2})
    site.fold()
    with site.engine.connect() as conn:
        found = list_marks(conn, READER, Action.DISLIKE, limit=10)
    assert [(marked.target, marked.target_id) for marked in found] == [
        (Target.CHANNEL, 2),
        (Target.AUTHOR, 3),
    ]

    site.door.set_mark(READER, Action.DISLIKE, Target.AUTHOR, 3, undone=True)
    site.fold()
    with site.engine.connect() as conn:
        assert len(list_marks(conn, READER, Action.DISLIKE, limit=10)) == 1
    assert make_history(site.redis).read(READER).hidden.authors == frozenset()


def test_a_list_of_marks_pages_without_gap_or_repetition(site: Site) -> None:
    """Equal moments included, and though something is marked and taken back meanwhile."""
    ids = site.articles(9)
    for place, article_id in enumerate(ids):
        if place % 3 == 0:
            site.clock.advance(1)
        site.put(Action.COLLECT, article_id)
    site.fold()
    found: list[int] = []
    after = None
    while True:
        with site.engine.connect() as conn:
            page = list_marks(conn, READER, Action.COLLECT, limit=2, after=after)
        if not page:
            break
        found += [marked.target_id for marked in page]
        after = After(page[-1].since, int(page[-1].target), page[-1].target_id)
        site.clock.advance(1)
        site.put(Action.COLLECT, site.article())
        if len(found) == 4:
            site.delete(Action.COLLECT, found[0])
        site.fold()

    assert sorted(found) == sorted(ids)


def events_of(article_id: int) -> list[Event]:
    """A liking by token, its undoing by another token, a request, and a request that takes it
    back."""

    def event(at_ms: int, stamp_ms: int, *, undone: bool, by_token: bool) -> Event:
        return Event(
            action=Action.LIKING,
            reader_id=READER,
            channel_id=CHANNEL,
            stamp_ms=stamp_ms,
            article_id=article_id,
            position=0,
            at_ms=at_ms,
            undone=undone,
            by_token=by_token,
        )

    return [
        event(NOW_MS, STAMP_MS, undone=False, by_token=True),
        event(NOW_MS, 0, undone=True, by_token=False),
        event(NOW_MS, 0, undone=False, by_token=False),
    ]


def test_of_two_folds_the_later_event_of_the_log_counts_whichever_stores_first(
    site: Site,
) -> None:
    """Consumers that fold side by side store in any order; the log's order decides."""
    for number, order in enumerate(permutations(range(3))):
        article_id = site.article()
        events = events_of(article_id)
        for place in order:
            with transaction(site.engine) as conn:
                store_events(conn, [Placed(10 * number + place + 1, events[place])])

        assert site.marks_on(article_id) == {Action.LIKING}
        assert site.counts(article_id)["liking"] == 1


ACTS = st.sampled_from(["token", "other token", "undo", "undo other", "put", "delete"])


@given(acts=st.lists(ACTS, max_size=12), portions=st.lists(st.integers(1, 4), max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mark_is_what_the_last_of_any_acts_made_it(
    site: Site, acts: Sequence[str], portions: Sequence[int]
) -> None:
    """Any sequence, folded in portions of any size and stored twice: the mark, the counter and the
    tally agree with a plain model of one reader and one article."""
    with transaction(site.engine) as conn:
        for table in (behaviour, mark, article_count, act_tally, shown_tally):
            conn.execute(delete(table))
    article_id = site.article()
    used: set[str] = set()
    is_liked = False
    placed: list[Placed] = []
    for place, act in enumerate(acts):
        name = act.removeprefix("undo ") if act.startswith("undo ") else act
        token = {"token": "token", "undo": "token"}.get(name, "other")
        by_token = act not in ("put", "delete")
        undone = act in ("undo", "undo other", "delete")
        placed.append(
            Placed(
                place + 1,
                Event(
                    action=Action.LIKING,
                    reader_id=READER,
                    channel_id=CHANNEL,
                    stamp_ms=(STAMP_MS + (token == "other")) if by_token else 0,
                    article_id=article_id,
                    position=0,
                    at_ms=NOW_MS + place,
                    undone=undone,
                    by_token=by_token,
                ),
            )
        )
        if undone:
            is_liked = False
        elif not by_token or token not in used:
            is_liked = True
        if by_token:
            used.add(token)
    start, sizes = 0, iter(portions)
    while start < len(placed):
        portion = placed[start : start + next(sizes, 3)]
        for _ in range(2):
            with transaction(site.engine) as conn:
                store_events(conn, portion)
        start += len(portion)

    with site.engine.connect() as conn:
        assert find_marks_on(conn, READER, article_id) == ({Action.LIKING} if is_liked else set())
        assert sum(conn.scalars(select(shown_tally.c.acts))) == int(is_liked)
        rows = select(behaviour.c.undone).where(behaviour.c.undone == 0)
        assert len(conn.scalars(rows).all()) == int(is_liked)
    assert site.counts(article_id).get("liking", 0) == int(is_liked)
