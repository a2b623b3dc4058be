"""Rates of what readers did with what they were shown: exact, by source, variant, channel and day,
and told to operators by a command and by metrics."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import REGISTRY
from sqlalchemy import Engine

from services.recommender.sources.hot import HOT
from services.recommender.sources.latest import LATEST
from services.recommender.sources.table import source_names
from tidings.commands.main import main
from tidings.process.clock import milliseconds, moment, now_ms
from tidings.process.settings import load_settings
from tidings.reading.acts import Action
from tidings.reading.rates import Split, day_of, read_rates, tell_rates
from tidings.reading.tallies import Tally
from tidings.store.engine import transaction
from tidings.store.opening import open_database

NOW = moment(1_795_435_260_000)


def count(engine: Engine, action: Action, times: int, *, source: int, days_ago: int = 0) -> None:
    """So many acts on articles of channel 10 that this source brought."""
    tally = Tally()
    at_ms = milliseconds(NOW - timedelta(days=days_ago))
    tally.add(action, 12, at_ms, channel_id=10, source=source, variant=source % 2, times=times)
    with transaction(engine) as conn:
        tally.write(conn)


@pytest.fixture
def _counted(engine: Engine) -> None:
    count(engine, Action.EXPOSURE, 200, source=1)
    count(engine, Action.CLICK, 20, source=1)
    count(engine, Action.EXPOSURE, 100, source=2)
    count(engine, Action.CLICK, 40, source=2)
    count(engine, Action.CLICK, -10, source=2)
    count(engine, Action.LIKING, 5, source=2)
    count(engine, Action.EXPOSURE, 50, source=2, days_ago=3)
    count(engine, Action.CLICK, 1, source=0)


@pytest.mark.usefixtures("_counted")
@pytest.mark.parametrize(
    ("split", "days", "clicks"),
    [
        (Split.SOURCE, 1, {0: None, 1: 0.1, 2: 0.3}),
        (Split.SOURCE, 4, {0: None, 1: 0.1, 2: 0.2}),
        (Split.VARIANT, 1, {0: 31 / 100, 1: 0.1}),
        (Split.CHANNEL, 1, {10: 51 / 300}),
    ],
)
def test_a_rate_is_acts_for_each_article_that_was_seen(
    engine: Engine, split: Split, days: int, clicks: dict[int, float | None]
) -> None:
    """What was taken back does not count, and what no batch showed has no rate."""
    with engine.connect() as conn:
        rates = read_rates(conn, split, NOW - timedelta(days=days - 1), NOW)
    assert {rate.value: rate.share(Action.CLICK) for rate in rates} == clicks


@pytest.mark.usefixtures("_counted")
def test_days_are_told_by_their_date(engine: Engine) -> None:
    """A day without anything is not there."""
    with engine.connect() as conn:
        rates = read_rates(conn, Split.DAY, NOW - timedelta(days=6), NOW)
    days = {day_of(rate): rate.shown for rate in rates}
    assert days == {f"{NOW - timedelta(days=3):%Y-%m-%d}": 50, f"{NOW:%Y-%m-%d}": 300}


@pytest.mark.usefixtures("_counted")
def test_the_daemon_tells_the_rates_of_today(engine: Engine) -> None:
    """By act and number of the source; without what no source brought."""
    tell_rates(engine, NOW)
    labels = {"act": "click", "source": "2"}
    assert REGISTRY.get_sample_value("tidings_shown_rate", labels) == 0.3
    assert REGISTRY.get_sample_value("tidings_shown_rate", {"act": "click", "source": "0"}) is None


def test_the_command_names_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a table for people, and as numbers for programs."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["migrate"]).exit_code == 0
    tally = Tally()
    for action, times in ((Action.EXPOSURE, 40), (Action.CLICK, 10)):
        tally.add(action, 12, now_ms(), channel_id=0, source=HOT.number, variant=0, times=times)
    with transaction(open_database(load_settings())) as conn:
        tally.write(conn)

    shown = CliRunner().invoke(main, ["rates"])
    assert shown.exit_code == 0
    assert [line.split()[:3] for line in shown.stdout.splitlines()] == [
        ["source", "shown", "click"],
        ["hot", "40", "0.2500"],
    ]
    (row,) = CliRunner().invoke(main, ["rates", "--by", "day", "--json"]).stdout.splitlines()
    assert json.loads(row) | {"click": 0.25, "shown": 40} == json.loads(row)


def test_every_source_has_a_name() -> None:
    names = source_names()
    assert names[LATEST.number] == "latest"
    assert {"neighbours", "taste", "text", "hot", "backlog", "again", "popular", "newest"} <= set(
        names.values()
    )
