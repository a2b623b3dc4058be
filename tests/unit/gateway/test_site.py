"""The site under its own address: pages for people where programs find JSON, feeds and sitemaps as
files, and nothing of what was taken down."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urldefrag
from xml.etree import ElementTree as ET

import pytest
from redis import Redis
from sqlalchemy import Engine

from jobs.pages.build import build_site
from tests.lab.site_checks import links_of, parse_page
from tests.unit.gateway.doors import Door, make_door
from tidings.http.pages import CONTENT_POLICY as PAGE_POLICY
from tidings.news.articles import Articles
from tidings.news.publishing import take_down
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer
from tidings.process.clock import moment
from tidings.store.engine import transaction

SITE = "https://news.example"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def site(engine: Engine, dead_redis: Redis, tmp_path: Path) -> Door:
    """A door with two channels and 45 articles, and their pages."""
    door = make_door(engine, dead_redis, site_folder=tmp_path)
    door.newsroom.channels(1, 2)
    door.newsroom.articles(45, body="<p>Tide tables.</p>", cover="https://x.example/c.jpg")
    build(door, tmp_path)
    return door


def build(door: Door, folder: Path) -> None:
    now = moment(door.clock())
    build_site(door.newsroom.engine, folder, Renderer(Masthead(SITE)), now=now)


def ask(door: Door, path: str, accept: str = BROWSER, **headers: str) -> Any:
    """As a newcomer."""
    return door.client.simulate_get(path, headers={"Accept": accept, **headers})


def test_an_article_is_a_page_for_people_and_json_for_programs(site: Door) -> None:
    page = ask(site, "/articles/1")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Security-Policy"] != PAGE_POLICY
    assert "<p>Tide tables.</p>" in page.text
    for accept in ("*/*", "application/json", "application/json, text/html", "text/css"):
        answer = ask(site, "/articles/1", accept)
        assert answer.json["body"] == "<p>Tide tables.</p>", accept
        assert "Accept" in answer.headers["Vary"].split(", ")
    assert "Accept" in page.headers["Vary"].split(", ")


@pytest.mark.parametrize(
    "accept", [BROWSER, "text/html", "text/*", "application/json;q=0.5, text/html"]
)
def test_a_client_that_prefers_a_page_gets_one(site: Door, accept: str) -> None:
    for path in ("/articles/1", "/channels/1"):
        assert ask(site, path, accept).headers["Content-Type"].startswith("text/html"), path


def test_a_channel_is_a_page_for_people_and_json_for_programs(site: Door) -> None:
    assert ask(site, "/channels/2", "*/*").json == {
        "channel_id": 2,
        "slug": "channel-2",
        "name": "Channel 2",
    }
    assert "Channel 1" in ask(site, "/channels/1").text


def test_an_articles_page_is_the_file_of_the_static_site(site: Door, tmp_path: Path) -> None:
    """A reader sees the same, whichever of the two web servers answers."""
    for article_id in (1, 45):
        written = (tmp_path / f"articles/{article_id}.html").read_bytes()
        assert ask(site, f"/articles/{article_id}").content == written


def test_every_link_on_every_page_leads_somewhere(site: Door) -> None:
    """From the front page without scripts, through channels, their older pages, and feeds."""
    seen: set[str] = set()
    todo = {"/index.html"}
    while todo:
        path = todo.pop()
        seen.add(path)
        answer = ask(site, path)
        assert answer.status_code == 200, path
        if answer.headers["Content-Type"].startswith("text/html") and path != "/":
            links = links_of(parse_page(answer.content), path.lstrip("/"), SITE)
            mine = {urldefrag(link).url for link in links if link.startswith(SITE)}
            todo |= {link.removeprefix(SITE) for link in mine} - seen

    assert {"/articles/1", "/channels/1", "/channels/1/page-1", "/channels/1.rss"} <= seen
    assert len([path for path in seen if path.startswith("/articles/")]) == 45


def test_every_address_of_the_feeds_and_the_sitemap_is_a_page(site: Door) -> None:
    found = []
    for path in ("/feed.atom", "/feed.rss", "/channels/1.atom", "/channels/1.rss"):
        root = ET.fromstring(ask(site, path).content)
        links = [
            element.get("href") or element.text or ""
            for element in root.iter()
            if element.tag.endswith("link")
        ]
        assert len(links) > 40
        found += links
    for part in ET.fromstring(ask(site, "/sitemap.xml").content):
        sitemap = ET.fromstring(ask(site, (part[0].text or "").removeprefix(SITE)).content)
        found += [url[0].text or "" for url in sitemap]

    assert {link for link in found if not link.startswith(SITE)} == set()
    assert {ask(site, link.removeprefix(SITE)).status_code for link in set(found)} == {200}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/feed.atom", "application/atom+xml; charset=utf-8"),
        ("/channels/1.rss", "application/rss+xml; charset=utf-8"),
        ("/robots.txt", "text/plain; charset=utf-8"),
        ("/favicon.ico", "image/vnd.microsoft.icon"),
        ("/sitemap.xml", "text/xml; charset=utf-8"),
    ],
)
def test_a_file_is_sent_for_what_it_is_and_once(site: Door, path: str, kind: str) -> None:
    answer = ask(site, path, "*/*")

    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (kind, "no-cache")
    again = ask(site, path, "*/*", **{"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/articles/99",
        "/articles/99999999999999999999",
        "/channels/99",
        "/channels/nowhere",
        "/channels/1/page-9",
        "/channels/1.html.html",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(site: Door, path: str) -> None:
    answer = ask(site, path)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    assert "There is no such page" in answer.text


@pytest.mark.parametrize("path", ["/.manifest.json", "/channels/..%2f.lock", "/sitemap-..xml"])
def test_the_builders_own_files_are_not_served(site: Door, path: str) -> None:
    assert ask(site, path).status_code == 404


def test_an_address_of_an_earlier_release_leads_to_todays(site: Door) -> None:
    """Bookmarks and feed readers have kept the channel's slug."""
    for path, today in (
        ("/channels/channel-2/", "/channels/2"),
        ("/channels/channel-2/feed.atom", "/channels/2.atom"),
    ):
        answer = ask(site, path)
        assert (answer.status_code, answer.headers["Location"]) == (308, today)
    assert ask(site, "/articles/1.html").status_code == 200


def test_what_was_taken_down_has_no_page_even_before_the_next_build(
    site: Door, dead_redis: Redis
) -> None:
    articles = Articles(site.newsroom.engine, dead_redis, card_ttl_s=60, clock=site.clock)
    assert ask(site, "/articles/7").status_code == 200
    with transaction(site.newsroom.engine) as conn:
        take_down(conn, 7, articles)

    assert ask(site, "/articles/7").status_code == 404


def test_an_address_that_was_shared_with_marks_of_a_campaign_is_the_page(site: Door) -> None:
    assert ask(site, "/articles/1?utm_source=newsletter&fbclid=x").status_code == 200


def test_a_page_says_which_language_it_is_in_and_where_it_belongs(
    engine: Engine, dead_redis: Redis
) -> None:
    door = make_door(engine, dead_redis)
    door.newsroom.channels(1)
    id_ = door.newsroom.article(
        title="المد والجزر", summary="S", language="ar", image="ab" * 32, body="<p>نص</p>"
    )
    page = ask(door, f"/articles/{id_}").text

    assert '<html lang="en">' in page
    assert '<article class="column" lang="ar">' in page
    assert '<div dir="auto"><p>' in page
    assert f'<link rel="canonical" href="{SITE}/articles/{id_}">' in page
    assert f'<meta property="og:image" content="{SITE}/images/{"ab" * 32}">' in page
    assert '<meta name="description" content="S">' in page


def test_the_site_bears_its_own_name_everywhere(engine: Engine, dead_redis: Redis) -> None:
    masthead = Masthead(
        "https://tide.example", name='The "Tide" & Co', tagline="Twice a day", language="de"
    )
    door = make_door(engine, dead_redis, masthead=masthead)
    door.newsroom.channels(1)
    id_ = door.newsroom.article(published_ms=1_700_000_000_000)

    front = ask(door, "/").text
    assert "<title>The &#34;Tide&#34; &amp; Co</title>" in front
    assert "Twice a day" in front
    page = ask(door, f"/articles/{id_}").text
    assert '<html lang="de">' in page
    assert "The &#34;Tide&#34; &amp; Co" in page
    assert ">2023-11-14</time>" in page
    assert "Tidings" not in page
