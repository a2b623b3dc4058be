"""Events come back out of Parquet as they went in, and counts are what counting would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.recommender.training import events as module
from services.recommender.training.events import Events, Summary
from tests.lab.clicks import block_of, some_clicks
from tidings.reading.acts import Action


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Events]:
    monkeypatch.setattr(module, "ROWS_A_FILE", 500)  # so that there are several files
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    with Events(folder) as made:
        yield made


def test_without_events_there_is_nothing(events: Events) -> None:
    assert events.summary() == Summary(0, 0, 0, 0, 0)
    assert len(events.clicks(10).at_ms) == 0
    assert len(events.readings(most_articles=10, least_readers=1).readers) == 0


def test_clicks_come_back_by_time_whatever_order_they_went_in(events: Events) -> None:
    first, second = some_clicks(300, seed=1), some_clicks(300, seed=2)
    for block in (second, first):
        events.add(block)
    expected = sorted(
        zip(
            np.concatenate([first.at_ms, second.at_ms]).tolist(),
            np.concatenate([first.readers, second.readers]).tolist(),
            np.concatenate([first.articles, second.articles]).tolist(),
            strict=True,
        )
    )
    clicks = events.clicks(10_000)
    found = zip(
        clicks.at_ms.tolist(), clicks.readers.tolist(), clicks.articles.tolist(), strict=True
    )
    assert list(found) == expected
    assert set(clicks.devices.tolist()) == {1}
    assert clicks.actions.dtype == np.uint8
    assert events.clicks(7).at_ms.tolist() == [at_ms for at_ms, *_ in expected[-7:]]


def test_the_summary_counts_clicks_and_not_other_acts(events: Events) -> None:
    events.add(block_of([5, 9], [1, 2], [10, 20], [0, 0]))
    events.add(block_of([7], [3], [10], [0], action=Action.EXPOSURE))
    assert events.summary() == Summary(clicks=2, readers=3, articles=2, first_ms=5, last_ms=9)


def test_readings_are_each_readers_in_their_order_of_what_most_wanted(events: Events) -> None:
    events.add(block_of([1, 2, 3, 4, 5, 6], [2, 1, 1, 2, 1, 3], [30, 10, 20, 10, 10, 20], [0] * 6))
    events.add(block_of([8], [3], [10], [0], action=Action.LIKING))
    events.add(block_of([9], [3], [30], [0], action=Action.DISLIKE))
    readings = events.readings(most_articles=2, least_readers=2)
    found = list(zip(readings.readers.tolist(), readings.articles.tolist(), strict=True))
    # Article 30 was wanted by one reader only, and reader 1 wanted 10 last.
    assert found == [(1, 20), (1, 10), (2, 10), (3, 20), (3, 10)]


def test_only_the_latest_readings_of_a_reader_count(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATEST_OF_READER", 3)
    events.add(block_of(range(10), [1] * 10, range(10), [0] * 10))
    readings = events.readings(most_articles=100, least_readers=1)
    assert readings.articles.tolist() == [7, 8, 9]


def test_the_most_wanted_articles_are_kept(events: Events) -> None:
    block = some_clicks(500, seed=3)
    events.add(block)
    pairs = set(zip(block.readers.tolist(), block.articles.tolist(), strict=True))
    wanted = Counter(article for _, article in pairs)
    best = sorted(wanted, key=lambda article: (-wanted[article], article))[:15]
    readings = events.readings(most_articles=15, least_readers=1)
    assert sorted(set(readings.articles.tolist())) == sorted(best)
