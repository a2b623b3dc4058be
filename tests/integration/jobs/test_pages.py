"""The static site: valid pages, no dead link, only what changed, and never half of anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import feedparser
from sqlalchemy import update

from tests.integration.jobs.paper import NASTY, NOW, SITE, Paper
from tests.lab.site_checks import check_site
from tidings.news.articles import Articles
from tidings.news.publishing import take_down
from tidings.news.rendering.outline import fit_into_page
from tidings.news.tables import author, channel
from tidings.store.engine import transaction


def test_every_page_feed_and_sitemap_is_valid_and_every_link_leads_somewhere(paper: Paper) -> None:
    built = paper.build()
    assert (built.articles, built.rendered, built.failed) == (95, 95, 0)
    files = paper.files()
    assert len([name for name in files if name.endswith(".html")]) == 95 + 2 + 2 * (2 + 1)
    assert check_site(paper.root, SITE) == []
    assert not [name for name, content in files.items() if b"<script" in content]


def test_the_checks_of_this_suite_see_what_is_wrong(small_paper: Paper) -> None:
    small_paper.build()
    root = small_paper.root
    (root / "articles/5.html").unlink()
    for name, old, new in (
        ("articles/6.html", b"</h1>", b""),
        ("articles/7.html", b"<main", b"<h4>deep</h4><img src=/x.png><main"),
        ("channels/1.atom", b"<updated>2026", b"<updated>26"),
        ("feed.rss", b" GMT", b""),
        ("sitemap-1.xml", b"<lastmod>2026-", b"<lastmod>"),
    ):
        (root / name).write_bytes((root / name).read_bytes().replace(old, new))
    faults = "\n".join(check_site(root, SITE))
    for fault in (
        "channels/2/page-1.html: links to https://news.example/articles/5,",
        "articles/6.html: not valid",
        "articles/7.html: headings leave out a level",
        "articles/7.html: a picture without alt",
        "articles/7.html: links to https://news.example/x.png",
        "channels/1.atom: entry: updated is 26-",
        "feed.rss: pubDate is",
        "sitemap-1.xml: lastmod is '11-",
        "listed in a sitemap, but not there: https://news.example/articles/5",
    ):
        assert fault in faults


def test_every_article_can_be_reached_from_the_home_page(paper: Paper) -> None:
    paper.build()
    pages = {name for name in paper.files() if name.endswith(".html")}
    assert paper.reachable() == pages - {"404.html"}


def test_the_feeds_are_read_as_they_were_meant(paper: Paper) -> None:
    paper.build()
    for name, last, number, category in (
        ("feed.atom", 95, 50, "c2"),
        ("feed.rss", 95, 50, "C&2"),
        ("channels/1.atom", 94, 47, "c1"),
        ("channels/1.rss", 94, 47, "C&1"),
    ):
        feed = feedparser.parse((paper.root / name).read_bytes())
        newest = feed.entries[0]
        assert newest.title == f"{NASTY} {last}".replace("\x0b", "")
        assert newest.link == f"{SITE}/articles/{last}"
        assert (len(feed.entries), newest.category) == (number, category)


def test_a_second_build_writes_nothing(paper: Paper) -> None:
    paper.build()
    before = paper.stamps()
    built = paper.build()
    assert (built.rendered, built.files_written, built.files_deleted) == (0, 0, 0)
    assert paper.stamps() == before


def test_one_edit_changes_its_pages_and_no_others(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    paper.change(4, title="Edited", updated_at=NOW)
    built = paper.build()
    assert built.rendered == 1
    changed = {name for name, content in paper.files().items() if before.get(name) != content}
    lists = {
        "channels/1/page-1.html",
        "channels/1.atom",
        "channels/1.rss",
        "sitemap-1.xml",
        "sitemap-channels.xml",
        "sitemap.xml",
    }
    assert changed == {"articles/4.html", *lists}


def test_a_new_article_leaves_old_pages_of_its_channel_alone(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    paper.add(200)
    paper.build()
    after = paper.files()
    assert after["channels/1/page-1.html"] == before["channels/1/page-1.html"]
    assert after["channels/1/page-2.html"] != before["channels/1/page-2.html"]
    assert b'"/articles/200"' in after["index.html"]


def test_what_is_taken_down_or_not_out_yet_is_nowhere(paper: Paper, redis_client: Any) -> None:
    paper.add(300, status="scheduled")
    paper.add(301, published_at=NOW + timedelta(hours=1))
    paper.build()
    with transaction(paper.engine) as conn:
        take_down(conn, 95, Articles(paper.engine, redis_client, card_ttl_s=60, clock=lambda: 0))
    built = paper.build()
    assert built.files_deleted == 1
    for name, content in paper.files().items():
        for gone in (
            b"/articles/95<",
            b'/articles/95"',
            b"/articles/300<",
            b'/articles/300"',
            b"/articles/301<",
            b'/articles/301"',
            b"article/95<",
            "\U0001f41f 95".encode(),
        ):
            assert gone not in content, name
    assert not (paper.root / "articles/95.html").exists()
    assert check_site(paper.root, SITE) == []


def test_a_channel_that_moved_its_last_article_away_is_gone(paper: Paper) -> None:
    paper.add(400, channel_id=3)
    paper.build()
    paper.change(400, channel_id=1, updated_at=NOW)
    paper.build()
    assert not any(name.startswith("channels/3") for name in paper.files())
    assert b"C&amp;1" in (paper.root / "articles/400.html").read_bytes()


def test_another_name_of_an_author_or_a_channel_is_seen(paper: Paper) -> None:
    paper.build()
    with transaction(paper.engine) as conn:
        conn.execute(update(author).values(name="B. Writer"))
        conn.execute(update(channel).where(channel.c.id == 1).values(name="Elsewhere"))
    paper.build()
    files = paper.files()
    assert not [
        name
        for name, content in files.items()
        if b"A. &lt;Writer" in content or b"C&amp;1" in content
    ]
    assert b"Elsewhere" in files["index.html"]


def test_a_page_that_somebody_deleted_comes_back(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    for name in ("articles/5.html", "index.html", "channels/1/page-1.html", "sitemap-1.xml"):
        (paper.root / name).unlink()
    assert paper.build().files_written == 4
    assert paper.files() == before


def test_the_pages_of_an_earlier_release_give_way(small_paper: Paper) -> None:
    """Channels were named by their slugs, which a channel may share with another one's number."""
    old = ("channels/c1/index.html", "channels/c1/page-1.html", "channels/2/feed.atom")
    for name in old:
        (small_paper.root / name).parent.mkdir(parents=True, exist_ok=True)
        (small_paper.root / name).write_bytes(b"of before")
    small_paper.build()

    assert not set(old) & small_paper.files().keys()
    assert not (small_paper.root / "channels/c1").exists()
    assert check_site(small_paper.root, SITE) == []


def test_files_of_the_operator_stay(small_paper: Paper) -> None:
    small_paper.build()
    for name in ("google123.html", "articles/map.png"):
        (small_paper.root / name).write_bytes(b"mine")
    small_paper.build()
    assert {"google123.html", "articles/map.png"} <= small_paper.files().keys()


def test_the_documented_commands_build_the_site(
    small_paper: Paper, environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    url = small_paper.engine.url.render_as_string(hide_password=False)
    settings = environment(database_url=url, site_url=SITE, var_dir=tmp_path)

    def tidings(*words: str) -> str:
        command = [str(Path(sys.executable).with_name("tidings")), "jobs", *words]
        done = subprocess.run(
            command,
            env=settings,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    assert "done (95 articles, 95 rendered, 114 files written, 0 deleted)" in tidings(
        "run", "pages"
    )
    assert check_site(small_paper.root, SITE) == []
    assert "done (95 articles, 0 rendered, 0 files written, 0 deleted)" in tidings(
        "run", "pages", "--again"
    )
    assert tidings("history", "pages").count("done") == 2


def test_headings_of_a_body_stand_below_its_title_without_a_gap() -> None:
    body = (
        "<h3>a</h3><h6>b</h6><h4>c</h4><h1>d</h1><p><img src='x'><img alt='y' "
        "src='z'></p><h2>e</h2>"
    )
    expected = (
        "<h2>a</h2><h3>b</h3><h3>c</h3><h2>d</h2><p><img alt=\"\" src='x'><img alt='y' "
        "src='z'></p><h3>e</h3>"
    )
    assert fit_into_page(body) == expected
