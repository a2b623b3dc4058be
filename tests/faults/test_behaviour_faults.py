"""What readers report while every process of the site is killed in its turn.

The readers are threads with a ledger: an event is written down when the gateway has acknowledged
it, and sent again, by the same token, for as long as it has not. In the end SQL holds each
acknowledged event exactly once, and the counters say the same.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.lab.servers import wait_until
from tests.lab.sites import PATIENT, Reader, Site, start_site
from tidings.process.clock import now_ms
from tidings.process.settings import read_secret_keys
from tidings.reading.acts import Action
from tidings.reading.tracking import Shown, Tracker
from tidings.store.engine import make_engine

pytestmark = pytest.mark.long

SENDERS, EVENTS_PER_REPORT, PER_SECOND = 5, 25, 500
BETWEEN_KILLS_S = 2.0
ACTIONS = (Action.CLICK, Action.READING, Action.LIKING, Action.COLLECT)


@dataclass
class Ledger:
    """What was acknowledged; event ids, each once."""

    acknowledged: dict[bytes, tuple[int, str]] = field(default_factory=dict)
    repeated: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Sender:
    """Reports acts of readers of its own, and reports again what was not acknowledged; now and then
    also what was, as a page does whose answer was lost."""

    site: Site
    tracker: Tracker
    articles: list[int]
    number: int
    ledger: Ledger
    stop: threading.Event

    def run(self) -> None:
        draw = random.Random(self.number)
        browser = self.site.reader()
        while not self.stop.is_set():
            started = time.monotonic()
            events = [self._draw(draw) for _ in range(EVENTS_PER_REPORT)]
            while not self._report(browser, events):
                time.sleep(0.1)
            if draw.random() < 0.1:
                self.ledger.repeated += self._report(browser, events)
            pause_s = SENDERS * EVENTS_PER_REPORT / PER_SECOND - (time.monotonic() - started)
            self.stop.wait(max(pause_s, 0))

    def _draw(self, draw: random.Random) -> Shown:
        return Shown(
            draw.choice(ACTIONS),
            reader_id=2**52 + self.number * 1_000_000 + draw.randrange(100_000),
            channel_id=0,
            stamp_ms=now_ms() - draw.randrange(1000),
            article_id=draw.choice(self.articles),
            position=draw.randrange(10),
        )

    def _report(self, browser: Reader, events: list[Shown]) -> bool:
        now = now_ms()
        body = {"events": [{"track": self.tracker.issue(shown, now)} for shown in events]}
        try:
            answer = browser.send("POST", "/behaviors", body)
        except Exception as ex:  # noqa: BLE001 - a killed process breaks connections in every way
            self.ledger.errors[type(ex).__name__] += 1
            return False
        if answer.status != 202:
            self.ledger.errors[str(answer.status)] += 1
            return False
        assert {found["verdict"] for found in answer.json["results"]} == {"accepted"}
        with self.ledger.lock:
            for shown in events:
                self.ledger.acknowledged[shown.event_id] = (shown.article_id, shown.action.label)
        return True


def victims(site: Site) -> list[psutil.Process]:
    """The processes of the site and the workers of each, which are killed one after the other."""
    names = ("redis", "services.recommender", "gateway", "jobs")
    return [
        process
        for process, command in site.commands().items()
        if any(name in part for part in command for name in names)
    ]


def test_every_acknowledged_act_is_in_sql_once_though_each_process_was_killed(
    tmp_path: Path,
) -> None:
    """500 acts a second while Redis, recommender, gateway and daemon are killed in turn."""
    with start_site(tmp_path, **PATIENT) as site:
        site.wait_until_ready()
        tracker = Tracker(read_secret_keys(site.settings.site))
        feed = site.reader().get("/articles?article_num=50").json
        articles = [card["article_id"] for card in feed["results"]]
        ledger, stop = Ledger(), threading.Event()
        senders = [
            threading.Thread(
                target=Sender(site, tracker, articles, number, ledger, stop).run, daemon=True
            )
            for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        killed = kill_each(site)
        enough = PER_SECOND * BETWEEN_KILLS_S
        wait_until(
            lambda: len(ledger.acknowledged) > enough and ledger.repeated > 0,
            60,
            "enough acts, some of them twice",
        )
        stop.set()
        for sender in senders:
            sender.join(180)
            assert not sender.is_alive(), f"a sender still waits: {ledger.errors}"

        stored = wait_for_sql(site, len(ledger.acknowledged))

    assert killed >= 4
    assert stored == ledger.acknowledged


def kill_each(site: Site) -> int:
    """Kill one process after the other, each time the site has got over the last one."""
    killed = 0
    for victim in victims(site):
        time.sleep(BETWEEN_KILLS_S)  # under load
        if not victim.is_running():
            continue
        victim.send_signal(signal.SIGKILL)
        killed += 1
        wait_until(lambda: is_serving(site), 30, "the site to get over it")
    time.sleep(BETWEEN_KILLS_S)
    return killed


def is_serving(site: Site) -> bool:
    try:
        return bool(site.reader().get("/articles").json["served_from"] == "personal")
    except (OSError, ValueError, KeyError):
        return False


def wait_for_sql(site: Site, number: int) -> dict[bytes, tuple[int, str]]:
    """The acts of the senders' readers in SQL, once no more come; the counters agree with them."""
    engine = make_engine(site.settings.database)
    senders = "reader_id BETWEEN :low AND :high"
    between = {"low": 2**52, "high": 2**52 + SENDERS * 1_000_000}
    counted = text(f"SELECT COUNT(*) FROM behaviour WHERE {senders}")
    rows = text(f"SELECT event_id, article_id, action FROM behaviour WHERE {senders}")
    every = text(
        "SELECT article_id, action, COUNT(*) FROM behaviour WHERE undone = 0 GROUP BY 1, 2"
    )

    def is_there() -> bool:
        with engine.connect() as conn:
            return bool((conn.scalar(counted, between) or 0) >= number)

    try:
        wait_until(is_there, 60, f"{number} acts in SQL")
        with engine.connect() as conn:
            found = conn.execute(rows, between).all()
            assert len({row.event_id for row in found}) == len(found)
            counters = conn.execute(text("SELECT * FROM article_count")).mappings().all()
            by_article = {row["article_id"]: row for row in counters}
            for article_id, action, times in conn.execute(every):
                assert by_article[article_id][action] == times
    finally:
        engine.dispose()
    return {bytes(row.event_id): (row.article_id, row.action) for row in found}
