"""Two readers of the demo site, in two browsers: what one of them reads and likes changes that
one's front page, says why, and leaves the other's alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.lab.browser import Browser, Page, open_browser
from tests.lab.servers import wait_until
from tests.lab.sites import Site
from tidings.client import Explained, TidingsClient
from tidings.store.keys import READER
from tidings.store.redis import make_redis

READ_S = 1.2  # the page reports a reading after a second
PATIENCE_S = 90
CARDS = "document.querySelectorAll('.card').length"
IDS = "[...document.querySelectorAll({})].map((link) => Number(link.pathname.split('/').at(-1)))"
OTHERS = 20
# Channels to choose from, so that one is rare on the next pages of both.
CHOICE = 4


@dataclass
class Visitor:
    """A reader before the front page."""

    page: Page
    recommender: TidingsClient

    @property
    def reader_id(self) -> int:
        cookies = self.page.command("Network.getCookies")["cookies"]
        (value,) = [each["value"] for each in cookies if each["name"] == "tidings_reader"]
        return int(value.partition(".")[0])

    def next_batch(self) -> list[Explained]:
        """What a fresh batch would be, and why; it is not made."""
        return list(self.recommender.explain(self.reader_id).articles)

    def next_ids(self) -> list[int]:
        return [each.article_id for each in self.next_batch()]

    def shown(self, batch: str = ".batch") -> list[int]:
        """What stands on the page, from the top."""
        ids: list[int] = self.page.run(IDS.format(json.dumps(f"{batch} .card a")))
        return ids

    def scroll_on(self) -> None:
        """To the end of the page, until there is more of it."""
        number = self.page.run(CARDS)
        self.page.scroll_to_end()
        self.page.wait_for(f"{CARDS} > {number}")

    def read_and_like(self, article_id: int) -> None:
        page = self.page
        page.run(f"location.hash = '#/articles/{article_id}'")
        page.wait_for(
            f"location.hash === '#/articles/{article_id}'"
            " && document.querySelector('.acts button')?.textContent === 'Like'"
        )
        time.sleep(READ_S)  # reading takes its time, and that is what is reported
        page.click(".acts button")
        page.wait_for("document.querySelector('.acts button').ariaPressed === 'true'")


@contextmanager
def visitors(site: Site, browser: Browser) -> Iterator[tuple[Visitor, Visitor]]:
    """Two new readers whose first page was seen, and reported as seen."""
    with ExitStack() as stack:
        recommender = stack.enter_context(
            TidingsClient(site.settings.recommender.bind, timeout_ms=20_000, caller="tests")
        )
        both = [Visitor(stack.enter_context(browser.page()), recommender) for _ in range(2)]
        for visitor in both:
            visitor.page.go(site.url)
            visitor.page.wait_for(f"{CARDS} >= 10")
        with make_redis(site.settings.redis) as redis:
            for visitor in both:
                kept = READER.of(visitor.reader_id)
                wait_until(partial(redis.hexists, kept, "exposed"), PATIENCE_S, "a page seen")
        for visitor in both:
            _wait_until_still(visitor.next_ids)
        yield both[0], both[1]


def _wait_until_still(look: Callable[[], list[int]]) -> None:
    """Until what it sees has been the same for three seconds: what was reported has arrived."""
    seen, since_s = look(), time.monotonic()

    def is_still() -> bool:
        nonlocal seen, since_s
        now = look()
        if now != seen:
            seen, since_s = now, time.monotonic()
        return time.monotonic() - since_s > 3

    wait_until(is_still, PATIENCE_S, "a feed that stands still")


def all_cards(site: Site) -> dict[int, dict[str, Any]]:
    """Every article of the site by its number, as a reader of all channels gets them."""
    cards: dict[int, dict[str, Any]] = {}
    for channel in site.reader().get("/channels").json["results"]:
        if channel["channel_id"]:
            path = f"/articles?channel_id={channel['channel_id']}&article_num=100"
            for card in site.reader().get(path).json["results"]:
                cards[card["article_id"]] = card
    return cards


def let_others_read(site: Site, cards: dict[int, dict[str, Any]]) -> None:
    """Two articles of each channel become what is popular: on a site with one reader, what is
    popular is what that reader reads."""
    popular = [ids[place] for ids in by_channel(cards, list(cards)).values() for place in (0, 1)]
    for number in range(OTHERS):
        reader = site.reader()
        events, tracks = [], dict[int, dict[str, str]]()
        for _ in range(2):  # a reader who comes but once makes nothing popular
            page = reader.get("/articles?channel_id=0&article_num=100").json
            tracks |= {card["article_id"]: card["track"] for card in page["results"]}
            events.append({"track": page["exposure"]})
        read = [id_ for place, id_ in enumerate(popular) if (place + number) % 5 < 2]
        events += [{"track": tracks[id_]["click"]} for id_ in read]
        assert reader.send("POST", "/behaviors", {"events": events}).status == HTTPStatus.ACCEPTED


def by_channel(cards: dict[int, dict[str, Any]], ids: list[int]) -> dict[int, list[int]]:
    """These articles by their channels."""
    found: dict[int, list[int]] = {}
    for id_ in ids:
        found.setdefault(cards[id_]["channel_id"], []).append(id_)
    return found


def test_reading_five_articles_of_a_channel_changes_that_readers_front_page_alone(
    site: Site, tmp_path: Path
) -> None:
    """The batch after is mostly of that channel and headed by an article of those five; `explain`
    names the taste; the other reader's next batch has the articles that it had."""
    cards = all_cards(site)
    let_others_read(site, cards)
    with open_browser() as browser, visitors(site, browser) as (reader, other):
        # Read on the reader's own page: what is opened by its address was not chosen among others,
        # and says little about a taste.
        while len(channels := five_of_a_channel(cards, reader.shown())) < CHOICE:
            reader.scroll_on()
        _wait_until_still(reader.next_ids)
        before, others_before = reader.next_ids(), other.next_ids()
        channel_id, five = rarest_channel(cards, before + others_before, channels)
        for article_id in five:
            reader.read_and_like(article_id)
        reader.page.run("location.hash = '#/'")
        _wait_until_still(reader.next_ids)
        after, others_after = reader.next_batch(), other.next_ids()

        reader.page.run("window.scrollTo(0, 0)")
        reader.page.click("#fresh")
        reader.page.wait_for("document.querySelector('#answer').textContent.includes('fresh')")
        reader.page.wait_for("!!document.querySelector('.origin').textContent")
        heading = reader.page.texts(".origin")[0]
        reader.page.take_picture(tmp_path / "front-page.png")
        shown = reader.shown(".batch:first-child")

    # One place is for what few have been shown yet, to everybody's taste or not.
    of_channel = [
        each
        for each in after
        if cards[each.article_id]["channel_id"] == channel_id and each.source != "untried"
    ]
    # What is popular, and what few have been shown yet, moves on for both.
    assert len({*others_after} & {*others_before}) >= 8
    assert sum(cards[id_]["channel_id"] == channel_id for id_ in others_after) <= 2
    assert sum(cards[id_]["channel_id"] == channel_id for id_ in before) <= 1
    assert len(of_channel) >= 4
    for each in of_channel:
        assert each.features["channel"] > 0
        assert each.reason is not None
        assert each.reason.article_id in five
    assert sum(cards[id_]["channel_id"] == channel_id for id_ in shown) >= 4
    assert heading in {f"Because you read “{cards[id_]['title']}”" for id_ in five}


def five_of_a_channel(cards: dict[int, dict[str, Any]], shown: list[int]) -> dict[int, list[int]]:
    """Of each channel that has five articles on a page, the first five."""
    return {
        channel_id: ids[:5] for channel_id, ids in by_channel(cards, shown).items() if len(ids) >= 5
    }


def rarest_channel(
    cards: dict[int, dict[str, Any]], batches: list[int], channels: dict[int, list[int]]
) -> tuple[int, list[int]]:
    """The one that these batches have least of, and its articles."""
    in_batches = [cards[id_]["channel_id"] for id_ in batches]
    return min(channels.items(), key=lambda item: (in_batches.count(item[0]), item[0]))
