"""Two readers of the demo site, in two browsers: what one of them reads and likes changes that
one's front page, says why, and leaves the other's alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.browser import Browser, Page, open_browser
from tests.lab.servers import wait_until
from tests.lab.sites import Site
from tidings.client import Explained, TidingsClient

READ_S = 1.2  # the page reports a reading after a second
PATIENCE_S = 30
CARDS = "document.querySelectorAll('.card').length"


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
            TidingsClient(site.settings.recommender.bind, timeout_ms=5000, caller="tests")
        )
        both = [Visitor(stack.enter_context(browser.page()), recommender) for _ in range(2)]
        for visitor in both:
            visitor.page.go(site.url)
            visitor.page.wait_for(f"{CARDS} >= 10")
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


@pytest.mark.timeout(180)
def test_reading_five_articles_of_a_channel_changes_that_readers_front_page_alone(
    site: Site, tmp_path: Path
) -> None:
    """The batch after has far more of that channel and is headed by an article of those five;
    `explain` names the taste; the other reader's next batch is for the most part what it was, with
    no more of that channel."""
    cards = all_cards(site)
    with open_browser() as browser, visitors(site, browser) as (reader, other):
        before, others_before = reader.next_ids(), other.next_ids()
        author, channel_id = rarest_author(cards, before)
        five = [id_ for id_, card in cards.items() if card["author"] == author][:5]
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
        shown = reader.page.run(
            "[...document.querySelectorAll('.batch:first-child .card a')]"
            ".map((link) => Number(link.pathname.split('/').at(-1)))"
        )

    of_channel = [each for each in after if cards[each.article_id]["channel_id"] == channel_id]
    # What is popular, and what few have been shown yet, moves on for both.
    assert len({*others_after} & {*others_before}) >= 5
    assert sum(cards[id_]["channel_id"] == channel_id for id_ in others_after) <= 2
    assert len(five) == 5
    assert sum(cards[id_]["channel_id"] == channel_id for id_ in before) <= 1
    assert len(of_channel) >= 3
    for each in of_channel:
        assert each.features["channel"] > 0
        assert each.reason is not None
        assert each.reason.article_id in five
    assert sum(cards[id_]["channel_id"] == channel_id for id_ in shown) >= 3
    assert heading in {f"Because you read “{cards[id_]['title']}”" for id_ in five}


def rarest_author(cards: dict[int, dict[str, Any]], batch: list[int]) -> tuple[str, int]:
    """One with five articles, of a channel that a batch has least of; and that channel."""
    shown = [cards[id_]["channel_id"] for id_ in batch]
    written = [card["author"] for card in cards.values()]
    prolific = {
        (card["author"], card["channel_id"])
        for card in cards.values()
        if written.count(card["author"]) >= 5
    }
    return min(prolific, key=lambda pair: (shown.count(pair[1]), pair))
