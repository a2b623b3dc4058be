"""The reader's page in a real browser: what a reader sees, scrolls to, presses and takes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.lab.browser import PATIENCE_S, Browser, Page, open_browser
from tests.lab.servers import wait_until
from tests.lab.sites import Site

CARDS = "document.querySelectorAll('.card').length"
# Puts a reason on each card of the feed, as `reason(index)` says, and keeps what the page sends.
BETWEEN = """
window.sent = [];
const real = window.fetch;
window.fetch = async (path, options = {}) => {
  if (options.method) window.sent.push({ path, method: options.method, body: options.body });
  const answer = await real(path, options);
  if (!String(path).startsWith("/articles?")) return answer;
  const page = await answer.json();
  page.results.forEach((card, index) => { card.reason = window.reason?.(index, page); });
  return new Response(JSON.stringify(page), { headers: { "Content-Type": "application/json" } });
};
"""
# Answers as a reader gets them who is given no id.
NOBODYS = """
const real = window.fetch;
window.fetch = async (path, options = {}) => {
  if (String(path).endsWith("/mine")) return new Response("{}", { status: 429 });
  const answer = await real(path, options);
  if (!String(path).startsWith("/articles?")) return answer;
  const page = await answer.json();
  for (const { track } of page.results) for (const name of Object.keys(track)) track[name] = "";
  page.exposure = "";
  return new Response(JSON.stringify(page), { headers: { "Content-Type": "application/json" } });
};
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The front page as a new reader sees it, once there are articles. No script may throw."""
    with browser.page() as visited:
        open_front_page(visited, site)
        yield visited
        assert visited.exceptions() == []


def open_front_page(page: Page, site: Site, path: str = "/") -> None:
    page.go("about:blank")
    page.go(site.url + path)
    page.wait_for(f"{CARDS} >= 10", "ten cards")


def scroll_through(page: Page, last_words: str = "That was everything") -> None:
    """As a reader does who wants to see everything."""
    at_the_end = f"document.querySelector('#feed-end').textContent.startsWith('{last_words}')"
    while not page.run(at_the_end):
        known = page.run(CARDS)
        page.scroll_to_end()
        page.wait_for(f"{CARDS} > {known} || {at_the_end}", "more cards, or the end")


def articles_on(page: Page) -> list[str]:
    """Their addresses, from top to bottom."""
    found: list[str] = page.run(
        "[...document.querySelectorAll('.card a')].map((link) => '#' + link.pathname)"
    )
    return found


def test_scrolling_down_brings_every_article_once_and_then_says_so(page: Page, site: Site) -> None:
    """Trap: it ended after ten of 150 with "You have reached the beginning"."""
    scroll_through(page)
    shown = articles_on(page)
    asked = page.run("performance.getEntriesByType('resource').length")
    page.scroll_to_end()

    assert len(shown) == len(set(shown)) == 150
    assert page.texts("#feed-end") == [
        "That was everything. What is published from now on comes with “Fresh articles”."
    ]
    assert page.run("performance.getEntriesByType('resource').length") == asked


def test_the_answer_to_fresh_articles_stands_beside_the_button(page: Page) -> None:
    """It says how many there are, and they are on top; when there are none, it says that. Trap: the
    answer stood at the end of the page, out of sight."""
    before = articles_on(page)
    page.click("#fresh")
    page.wait_for("document.querySelector('#answer').textContent.includes('fresh articles')")
    (told,) = page.texts("#answer")
    number = int(told.split()[0])

    assert articles_on(page)[number : number + 10] == before[:10]
    scroll_through(page)
    page.click("#fresh")
    page.wait_for("document.querySelector('#answer').textContent === 'Nothing new just now'")
    assert page.run(
        "Math.abs(document.querySelector('#answer').getBoundingClientRect().y"
        " - document.querySelector('#fresh').getBoundingClientRect().y) < 40"
    )
    assert page.run("document.activeElement.id") == "fresh"


def test_what_was_shown_before_this_visit_is_behind_a_link(page: Page, site: Site) -> None:
    """Each batch as it was, headed by when; a first visit has none."""
    page.click("#earlier")
    page.wait_for("document.querySelector('#feed-end').textContent.includes('before this visit')")
    assert page.texts(".card") == []

    open_front_page(page, site)
    first_visit = set(articles_on(page))
    open_front_page(page, site)
    second_visit = set(articles_on(page))
    page.click("#earlier")
    page.wait_for("document.querySelector('#feed-title').textContent.startsWith('Shown earlier')")
    scroll_through(page, "You have reached the beginning")
    earlier = set(articles_on(page))

    assert first_visit <= earlier
    assert not second_visit & earlier
    assert set(page.texts(".origin")) == {"Shown just now"}
    assert page.texts("#fresh") == []
    page.run("location.reload()")
    page.wait_for("performance.getEntriesByType('navigation')[0].type === 'reload'")
    page.wait_for(f"{CARDS} >= 10 && location.hash === '#/earlier'")
    page.wait_for("document.querySelector('#earlier').checkVisibility()")
    page.click("#earlier")
    page.wait_for("!location.hash.includes('earlier')")


@pytest.mark.parametrize(
    ("reason", "heading"),
    [
        ("undefined", "Popular now"),
        ("({ kind: 'popular' })", "Popular now"),
        ("({ kind: index % 3 ? 'fresh' : 'popular' })", "New"),
        ("({ kind: 'taste' })", "Chosen by what you read"),
        (
            "({ kind: 'read', article_id: index < 4 ? page.results[9].article_id : 0 })",
            "Because you read “TITLE”",
        ),
        (
            "index ? undefined : { kind: 'read', article_id: page.results[9].article_id }",
            "Popular now",
        ),
        ("({ kind: 'read', article_id: 999999999 })", "Because of what you read"),
    ],
)
def test_the_heading_says_how_a_batch_came_about(
    browser: Browser, site: Site, reason: str, heading: str
) -> None:
    """What most of its cards say; one card alone names no batch, and an article that is gone has no
    title."""
    with browser.page() as page:
        page.command(
            "Page.addScriptToEvaluateOnNewDocument",
            source=f"{BETWEEN}window.reason = (index, page) => {reason};",
        )
        open_front_page(page, site)
        title = page.run("document.querySelectorAll('.card h3')[9].textContent")
        wanted = heading.replace("TITLE", title)
        page.wait_for(
            f"document.querySelector('.origin').textContent === {json.dumps(wanted)}", wanted
        )


@pytest.mark.parametrize(
    ("button", "act", "labels"),
    [
        (1, "liking", ("Like", "Liked")),
        (2, "collect", ("Save for later", "Saved")),
        (3, "dislike", ("Not for me", "Less like this")),
    ],
)
def test_an_act_can_be_taken_back_and_done_again(
    browser: Browser, site: Site, button: int, act: str, labels: tuple[str, str]
) -> None:
    """By its token first, and from then on by the article's own path, in the order in which it was
    done. What was pressed is still pressed when the reader comes back, on another day too."""
    with browser.page() as page:
        page.command("Page.addScriptToEvaluateOnNewDocument", source=BETWEEN)
        open_front_page(page, site)
        page.click(".card a")
        page.wait_for("!!document.querySelector('.acts button')", "the buttons")
        it = f".acts button:nth-child({button})"
        for pressed in (True, False, True, False, True):
            page.click(it)
            assert page.texts(it) == [labels[pressed]]
            assert page.run(f"document.querySelector('{it}').ariaPressed") == str(pressed).lower()
        page.wait_for(
            f"window.sent.filter((each) => each.path.endsWith('/{act}')).length === 4",
            "what was done by path",
        )
        sent: list[dict[str, Any]] = page.run("window.sent")
        address = page.run("location.href")
        page.run("history.back()")
        page.wait_for("!document.querySelector('#feed').hidden")
        page.run("history.forward()")
        page.wait_for(f"document.querySelector('{it}')?.ariaPressed === 'true'", "still pressed")
        page.go("about:blank")
        page.go(address)
        page.wait_for(f"document.querySelector('{it}')?.ariaPressed === 'true'", "pressed for good")
        assert page.exceptions() == []

    methods = [each["method"] for each in sent if each["path"].endswith(f"/{act}")]
    assert methods == ["DELETE", "PUT", "DELETE", "PUT"]
    events = [json.loads(each["body"])["events"] for each in sent if each.get("body")]
    assert len({event["track"] for each in events for event in each}) == sum(map(len, events))


@pytest.mark.parametrize("way", ["from the feed", "by its address"])
def test_where_nothing_can_be_marked_the_article_says_so_in_words(
    browser: Browser, site: Site, way: str
) -> None:
    """An address that was given as many readers as it may have gets feeds with empty tokens, and no
    `mine`. Trap: the buttons were not there, without a word."""
    with browser.page() as page:
        page.command("Page.addScriptToEvaluateOnNewDocument", source=NOBODYS)
        open_front_page(page, site)
        if way == "from the feed":
            page.click(".card a")
        else:
            address = site.url + "/" + articles_on(page)[0]
            page.go("about:blank")
            page.go(address)
        page.wait_for("!!document.querySelector('.acts')", "the end of the article")

        assert page.texts(".acts") == [
            "Liking and saving do not work just now. Load this page again in a few minutes."
        ]
        assert page.run("document.querySelectorAll('.acts button').length") == 0
        assert page.exceptions() == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_stands_still_and_can_be_used_without_a_mouse(
    browser: Browser, site: Site, width: int, dark: bool
) -> None:
    """No layout jump while it loads, nothing wider than the window, headings without a gap, a name
    for every control."""
    with browser.page(width=width, dark=dark) as page:
        open_front_page(page, site)
        levels = page.run(
            "[...document.querySelectorAll('main h1, main h2, main h3')]"
            ".filter((each) => each.checkVisibility()).map((each) => Number(each.tagName[1]))"
        )
        nameless = page.run(
            "[...document.querySelectorAll('a, button')].filter((each) => each.checkVisibility()"
            " && !each.textContent.trim()).length"
        )
        wide = page.run("document.documentElement.scrollWidth > window.innerWidth")
        assert page.run("window.shift") < 0.1
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert (nameless, wide) == (0, False)


def test_without_scripts_the_page_says_where_the_articles_are(browser: Browser, site: Site) -> None:
    with browser.page() as page:
        page.command("Emulation.setScriptExecutionDisabled", value=True)
        page.go(site.url + "/")
        wait_until(
            lambda: "needs JavaScript" in json.dumps(page.command("DOM.getDocument", depth=-1)),
            PATIENCE_S,
            "the words for a browser without scripts",
        )
