"""Simulated readers are repeatable, possible in time and place, and true to a taste that a
recommender can learn."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS
from tidings.demo.readers import VISITS, Item, simulate
from tidings.reading.acts import Action
from tidings.reading.events import Event
from tidings.reading.pages import PAGE_SIZE

ITEMS = [Item(number, number % 5 + 1, NOW_MS - number * HOUR_MS) for number in range(1, 101)]


def acts_of(
    readers: int = 40, days: int = 3, seed: int = 1, items: list[Item] = ITEMS
) -> list[Event]:
    return list(simulate(items, readers=readers, days=days, now_ms=NOW_MS, seed=seed))


def test_the_same_seed_makes_the_same_readers() -> None:
    """A demo, a benchmark and a bug report can be repeated; another seed makes other people."""
    assert acts_of(seed=1) == acts_of(seed=1)
    assert acts_of(seed=1) != acts_of(seed=2)


@pytest.mark.parametrize("items", [[], ITEMS[:1], ITEMS[:3]])
def test_a_site_with_next_to_nothing_is_no_trouble(items: list[Item]) -> None:
    """Where there is nothing to see no reader does anything; where there is little, each sees it
    once."""
    shown = [id_ for act in acts_of(items=items) for id_ in act.article_ids]

    assert len(shown) <= 40 * len(items)
    assert set(shown) <= {item.article_id for item in items}


@given(st.integers(0, 10**6), st.integers(1, 10))
def test_every_act_is_possible(seed: int, days: int) -> None:
    """Nothing is seen before it was out or twice, nothing is done to what was not shown, reading
    follows clicking."""
    published = {item.article_id: item.published_ms for item in ITEMS}
    for reader_id, acts in groupby(
        acts_of(readers=3, days=days, seed=seed), key=lambda act: act.reader_id
    ):
        assert 2**52 <= reader_id < 2**53
        done: defaultdict[int, dict[Action, Event]] = defaultdict(dict)
        for act in acts:
            assert NOW_MS - days * DAY_MS <= act.stamp_ms <= NOW_MS
            assert act.stamp_ms <= act.at_ms
            assert 0 <= act.position < PAGE_SIZE
            assert (act.read_ms is not None) == (act.action == Action.READING)
            if act.action == Action.EXPOSURE:
                for article_id in act.article_ids:
                    assert published[article_id] <= act.stamp_ms
                    assert article_id not in done
                    done[article_id][act.action] = act
                continue
            of_article = done[act.article_id]
            assert act.action not in of_article
            assert of_article[Action.EXPOSURE].article_ids[act.position] == act.article_id
            of_article[act.action] = act
        for actions in done.values():
            if len(actions) > 1:
                click, reading = actions[Action.CLICK], actions[Action.READING]
                assert click.at_ms + (reading.read_ms or 0) == reading.at_ms


def test_readers_come_a_few_times_and_see_a_page_each_time() -> None:
    """Between two visits and nine, ten articles at a time while there are so many."""
    visits: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for act in acts_of():
        visits[act.reader_id][act.stamp_ms] += len(act.article_ids)

    assert len(visits) == 40
    assert max(map(len, visits.values())) <= VISITS[1]
    assert max(max(pages.values()) for pages in visits.values()) == PAGE_SIZE


def test_each_event_is_told_once() -> None:
    """No two acts share an event id, so what the simulation says is what gets counted."""
    ids = [act.event_id for act in acts_of(readers=100)]

    assert len(ids) == len({*ids})


def test_readers_have_tastes_and_prefer_the_top() -> None:
    """Most of a reader's clicks go to a favourite channel, and the first place is clicked more than
    the last."""
    clicks: defaultdict[int, Counter[int]] = defaultdict(Counter)
    places: Counter[int] = Counter()
    channels = {item.article_id: item.channel_id for item in ITEMS}
    for act in acts_of(readers=200):
        if act.action == Action.CLICK:
            clicks[act.reader_id][channels[act.article_id]] += 1
            places[act.position] += 1
    total = sum(counts.total() for counts in clicks.values())
    favourite = sum(max(counts.values()) for counts in clicks.values())

    assert favourite / total > 0.5
    assert places[0] > 1.5 * places[PAGE_SIZE - 1]
