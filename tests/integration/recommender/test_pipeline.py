"""The pipeline against a model of the contract in plain lists: any requests, in any order, at any
moments."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from redis import Redis

from services.recommender.catalogue import Catalogue
from services.recommender.parts import make_chooser
from services.recommender.pipeline import Ask, Feed, Pipeline
from services.recommender.signals.folding import Signals
from tests.lab.histories import make_history
from tests.lab.newsroom import HOUR_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tidings.news.visibility import PUBLISHED, TAKEN_DOWN
from tidings.reading.older_pages import OlderPages

READER = 7
SEEN_KEPT = 30
PER_CHANNEL = {1: 25, 2: 12}


class PipelineAgainstContract(RuleBasedStateMachine):
    """One reader in three channels, while articles come and go and time passes."""

    redis: Redis
    newsroom: Newsroom
    clock: Clock
    articles: ClassVar[dict[int, int]]

    @initialize()
    def start(self) -> None:
        self.redis.flushall()
        self.clock.now_ms = NOW_MS
        self.taken_down: set[int] = set()
        for article_id in self.articles:
            self.newsroom.change(article_id, status=PUBLISHED)
        self.catalogue = Catalogue(self.newsroom.engine, self.clock, self.newsroom.read_now)
        self.catalogue.refresh()
        history = make_history(self.redis, batches_kept=1000, seen_kept=SEEN_KEPT)
        chooser = make_chooser(Signals(sessions=64), self.catalogue.view)
        older = OlderPages(self.newsroom.engine)
        self.pipeline = Pipeline(self.catalogue, history, chooser, older=older, clock=self.clock)
        self.recorded: list[tuple[int, int, list[int]]] = []
        self.shown: list[int] = []
        self.newest_ms = 0

    def kept(self, channel_id: int) -> list[tuple[int, list[int]]]:
        """The channel's batches: of all channels as many as hold what is not repeated."""
        kept: list[tuple[int, int, list[int]]] = []
        for batch in reversed(self.recorded):
            if kept and sum(len(ids) for _, _, ids in [*kept, batch]) > SEEN_KEPT:
                break
            kept.insert(0, batch)
        return [(stamp_ms, ids) for of, stamp_ms, ids in kept if of == channel_id]

    def _old_stamps(self, channel_id: int, now_ms: int) -> set[int]:
        """The stamps that page back: all but the newest one within a second of its making."""
        stamps = [stamp_ms for stamp_ms, _ in self.kept(channel_id)]
        if stamps and abs(now_ms - stamps[-1]) < SECOND_MS:
            del stamps[-1]
        return {*stamps}

    @rule(data=st.data())
    def an_article_is_taken_down(self, data: st.DataObject) -> None:
        article_id = data.draw(st.sampled_from(sorted(self.articles)))
        self.clock.advance(1)
        self.newsroom.change(article_id, status=TAKEN_DOWN)
        self.taken_down.add(article_id)
        self.catalogue.refresh()

    @rule(
        channel_id=st.integers(0, 2),
        wanted=st.integers(1, 15),
        ahead_ms=st.integers(-HOUR_MS, 10**13) | st.none(),
    )
    def the_reader_refreshes(self, channel_id: int, wanted: int, ahead_ms: int | None) -> None:
        now_ms = self.clock.advance(1)
        at_ms = 0 if ahead_ms is None else max(1, now_ms + ahead_ms)
        if at_ms not in self._old_stamps(channel_id, now_ms):
            feed = self.pipeline.recommend(Ask(READER, channel_id, wanted, at_ms))
            self._check_fresh(feed, channel_id, wanted, now_ms)

    @rule(by_ms=st.integers(1, 2 * HOUR_MS))
    def time_passes(self, by_ms: int) -> None:
        self.clock.advance(by_ms)

    @rule(channel_id=st.integers(0, 2), wanted=st.integers(1, 15), data=st.data())
    def the_reader_asks_for_some_moment(
        self, channel_id: int, wanted: int, data: st.DataObject
    ) -> None:
        now_ms = self.clock.advance(data.draw(st.integers(1, 10)))
        stamps = [stamp_ms for stamp_ms, _ in self.kept(channel_id)]
        at_ms = data.draw(
            st.sampled_from([1, NOW_MS, now_ms, now_ms - HOUR_MS, *stamps])
        ) + data.draw(st.integers(-1, 3))
        feed = self.pipeline.recommend(Ask(READER, channel_id, wanted, at_ms))

        is_long_ago = 0 < at_ms < now_ms - HOUR_MS
        if is_long_ago or at_ms in self._old_stamps(channel_id, now_ms):
            self._check_history(feed, channel_id, at_ms)
        else:
            self._check_fresh(feed, channel_id, wanted, now_ms)

    @rule(channel_id=st.integers(0, 2))
    def the_reader_walks_back_to_the_start(self, channel_id: int) -> None:
        at_ms = self._newest_ms(channel_id)
        self.clock.now_ms = max(self.clock.now_ms, at_ms + SECOND_MS)
        visited = []
        while at_ms:
            self.clock.advance(1)
            visited.append(at_ms)
            at_ms = self.pipeline.recommend(Ask(READER, channel_id, 10, at_ms)).before_ms

        assert [stamp_ms for stamp_ms, _ in reversed(self.kept(channel_id))] == visited

    def _check_fresh(self, feed: Feed, channel_id: int, wanted: int, now_ms: int) -> None:
        ids = [placed.article_id for placed in feed.articles]
        visible = {
            id_ for id_, of in self.articles.items() if channel_id in (0, of)
        } - self.taken_down
        seen = list(dict.fromkeys(reversed(self.shown[-SEEN_KEPT:])))[::-1]
        unseen = visible - {*seen}

        assert feed.fresh
        assert self._newest_ms(channel_id) == feed.before_ms
        assert list(range(len(ids))) == [placed.position for placed in feed.articles]
        new = [id_ for id_ in ids if id_ in unseen]
        assert min(wanted, len(unseen)) == len(new) == len({*new})
        oldest_seen = [id_ for id_ in seen if id_ in visible]
        assert oldest_seen[: wanted - len(new)] == ids[len(new) :]
        if ids:
            assert max(now_ms, self.newest_ms + 1) == feed.stamp_ms
            self.newest_ms = feed.stamp_ms
            self.recorded.append((channel_id, feed.stamp_ms, ids))
            self.shown.extend(ids)

    def _check_history(self, feed: Feed, channel_id: int, at_ms: int) -> None:
        nothing: tuple[int, list[int]] = (0, [])
        recorded = [batch for batch in self.kept(channel_id) if batch[0] <= at_ms]
        before, (stamp_ms, ids) = [nothing, nothing, *recorded][-2:]
        expected = [(place, id_) for place, id_ in enumerate(ids) if id_ not in self.taken_down]

        assert not feed.fresh
        assert (stamp_ms, before[0]) == (feed.stamp_ms, feed.before_ms)
        assert expected == [(placed.position, placed.article_id) for placed in feed.articles]

    def _newest_ms(self, channel_id: int) -> int:
        return max((stamp_ms for stamp_ms, _ in self.kept(channel_id)), default=0)


def test_the_pipeline_keeps_the_contract(newsroom: Newsroom, redis: Redis, clock: Clock) -> None:
    """Fresh or history, which batch, what before it, what in it, and how many: as the contract
    says, every time."""

    class Machine(PipelineAgainstContract):
        articles: ClassVar[dict[int, int]] = {}

    for channel_id, number in PER_CHANNEL.items():
        Machine.articles |= dict.fromkeys(
            newsroom.articles(number, channel_id=channel_id), channel_id
        )
    Machine.redis, Machine.newsroom, Machine.clock = redis, newsroom, clock
    limits = hypothesis_settings(max_examples=25, stateful_step_count=30, deadline=None)

    run_state_machine_as_test(Machine, settings=limits)
