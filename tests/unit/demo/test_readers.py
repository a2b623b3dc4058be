"""Simulated readers are repeatable, possible in time and place, and true to a taste that a
recommender can learn."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS
from tidings.demo.readers import VISITS, Act, Item, simulate
from tidings.reading.acts import Action
from tidings.reading.pages import PAGE_SIZE

ITEMS = [Item(number, number % 5 + 1, NOW_MS - number * HOUR_MS) for number in range(1, 101)]


def acts_of(
    readers: int = 40, days: int = 3, seed: int = 1, items: list[Item] = ITEMS
) -> list[Act]:
    return list(simulate(items, readers=readers, days=days, now_ms=NOW_MS, seed=seed))


def test_the_same_seed_makes_the_same_readers() -> None:
    """A demo, a benchmark and a bug report can be repeated; another seed makes other people."""
    assert acts_of(seed=1) == acts_of(seed=1)
    assert acts_of(seed=1) != acts_of(seed=2)


@pytest.mark.parametrize("items", [[], ITEMS[:1], ITEMS[:3]])
def test_a_site_with_next_to_nothing_is_no_trouble(items: list[Item]) -> None:
    """Where there is nothing to see no reader does anything; where there is little, each sees it
    once."""
    exposures = [act.shown for act in acts_of(items=items) if act.shown.action == Action.EXPOSURE]

    assert len(exposures) <= 40 * len(items)
    assert {shown.article_id for shown in exposures} <= {item.article_id for item in items}


@given(st.integers(0, 10**6), st.integers(1, 10))
def test_every_act_is_possible(seed: int, days: int) -> None:
    """Nothing is seen before it was out or twice, nothing is done to what was not shown, reading
    follows clicking."""
    published = {item.article_id: item.published_ms for item in ITEMS}
    for reader_id, acts in groupby(
        acts_of(readers=3, days=days, seed=seed), key=lambda act: act.shown.reader_id
    ):
        assert 2**52 <= reader_id < 2**53
        done: defaultdict[int, dict[Action, Act]] = defaultdict(dict)
        for act in acts:
            shown = act.shown
            assert NOW_MS - days * DAY_MS <= shown.stamp_ms <= NOW_MS
            assert published[shown.article_id] <= shown.stamp_ms <= act.at_ms
            assert 0 <= shown.position < PAGE_SIZE
            assert shown.action not in done[shown.article_id]
            assert shown.action == Action.EXPOSURE or Action.EXPOSURE in done[shown.article_id]
            assert (act.read_ms is not None) == (shown.action == Action.READING)
            done[shown.article_id][shown.action] = act
        for actions in done.values():
            if len(actions) > 1:
                click, reading = actions[Action.CLICK], actions[Action.READING]
                assert click.at_ms + (reading.read_ms or 0) == reading.at_ms


def test_readers_come_a_few_times_and_see_a_page_each_time() -> None:
    """Between two visits and nine, ten articles at a time while there are so many."""
    visits: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for act in acts_of():
        if act.shown.action == Action.EXPOSURE:
            visits[act.shown.reader_id][act.shown.stamp_ms] += 1

    assert len(visits) == 40
    assert max(map(len, visits.values())) <= VISITS[1]
    assert max(max(pages.values()) for pages in visits.values()) == PAGE_SIZE


def test_each_event_is_told_once() -> None:
    """No two acts share an event id, so what the simulation says is what gets counted."""
    ids = [act.shown.event_id for act in acts_of(readers=100)]

    assert len(ids) == len({*ids})


def test_readers_have_tastes_and_prefer_the_top() -> None:
    """Most of a reader's clicks go to a favourite channel, and the first place is clicked more than
    the last."""
    clicks: defaultdict[int, Counter[int]] = defaultdict(Counter)
    places: Counter[int] = Counter()
    channels = {item.article_id: item.channel_id for item in ITEMS}
    for act in acts_of(readers=200):
        if act.shown.action == Action.CLICK:
            clicks[act.shown.reader_id][channels[act.shown.article_id]] += 1
            places[act.shown.position] += 1
    total = sum(counts.total() for counts in clicks.values())
    favourite = sum(max(counts.values()) for counts in clicks.values())

    assert favourite / total > 0.5
    assert places[0] > 1.5 * places[PAGE_SIZE - 1]
