"""The static site: valid pages, no dead link, only what changed, and never half of anything."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import feedparser
import html5lib
import pytest
from sqlalchemy import Engine, delete, insert, update

from jobs.context import JobFailed
from jobs.pages.build import Built, build_site
from jobs.pages.files import SiteFolder
from jobs.pages.render import Renderer
from tidings.store.engine import transaction
from tidings.store.tables import article, author, channel

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SITE = "https://news.example"
NASTY = 'Fish & "chips" <script>alert(1)</script> \x0b ümläut'


class Paper:
    """A small newspaper and its site."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.root = root
        with transaction(engine) as conn:
            conn.execute(insert(channel), [{"id": n, "slug": f"c{n}", "name": f"C&{n}"} for n in (1, 2, 3)])
            conn.execute(insert(author).values(id=1, name="A. <Writer>"))
        self.add(*range(1, 96))

    def add(self, *ids: int, **values: Any) -> None:
        with transaction(self.engine) as conn:
            for n in ids:
                moment = NOW - timedelta(minutes=1000 - n)
                row = {
                    "id": n,
                    "source_id": str(n),
                    "channel_id": n % 2 + 1,
                    "author_id": 1 if n % 3 else None,
                    "title": f"{NASTY} {n}",
                    "summary": f"{NASTY} {n}",
                    "body": f"<p>Body of {n} with <a href='https://x.example/?a=1&amp;b=2'>a link</a></p>",
                    "cover": "https://x.example/c.jpg?a=1&b=2" if n % 4 == 0 else None,
                    "url": f"https://x.example/{n}",
                    "status": "published",
                    "published_at": moment,
                    "updated_at": moment,
                    **values,
                }
                conn.execute(insert(article).values(row))

    def change(self, id_: int, **values: Any) -> None:
        with transaction(self.engine) as conn:
            conn.execute(update(article).where(article.c.id == id_).values(values))

    def build(self, **options: Any) -> Built:
        return build_site(self.engine, self.root, Renderer(SITE), now=NOW, **options)

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def paper(engine: Engine, tmp_path: Path) -> Paper:
    return Paper(engine, tmp_path / "site")


def links_of(document: bytes) -> set[str]:
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(document)
    return {element.get("href") or element.get("src") for tag in ("a", "link", "img") for element in tree.iter(tag)}


def test_every_page_is_valid_and_every_link_resolves(paper: Paper) -> None:
    built = paper.build()
    files = paper.files()
    assert (built.articles, built.rendered, built.failed) == (95, 95, 0)
    pages = [name for name in files if name.endswith(".html")]
    assert len(pages) == 95 + 1 + 2 * (2 + 1)
    for name in pages:
        for link in links_of(files[name]):
            parts = urlsplit(link)
            if parts.netloc in ("", "news.example"):
                path = parts.path.lstrip("/")
                assert (path + "index.html" if not path or path.endswith("/") else path) in files, (name, link)
        assert b"<script" not in files[name]


def test_every_article_can_be_reached_from_the_home_page(paper: Paper) -> None:
    paper.build()
    files = paper.files()
    seen, todo = set(), ["index.html"]
    while todo:
        name = todo.pop()
        if name in seen or not name.endswith(".html"):
            continue
        seen.add(name)
        paths = [link.lstrip("/") for link in links_of(files[name]) if link.startswith("/")]
        todo += [path + "index.html" if not path or path.endswith("/") else path for path in paths]
    assert {name for name in files if name.endswith(".html")} == seen


def test_the_feeds_and_sitemaps_are_read_as_they_were_meant(paper: Paper) -> None:
    paper.build()
    files = paper.files()
    for name in ("feed.atom", "feed.rss", "channels/c1/feed.atom"):
        feed = feedparser.parse(files[name])
        assert not feed.bozo, (name, feed.get("bozo_exception"))
        newest = feed.entries[0]
        assert newest.title == NASTY.replace("\x0b", "") + (" 94" if "c1" in name else " 95")
        assert urlsplit(newest.link).path.lstrip("/") in files
        assert len({entry.id for entry in feed.entries}) == len(feed.entries) <= 50
    index = ET.fromstring(files["sitemap.xml"])
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    assert [loc.text for loc in index.iterfind(".//s:loc", space)] == [f"{SITE}/sitemap-1.xml"]
    listed = [urlsplit(str(loc.text)).path for loc in ET.fromstring(files["sitemap-1.xml"]).iterfind(".//s:loc", space)]
    assert len(listed) == len(set(listed)) == 97
    assert "/channels/c1/" in listed


def test_a_second_build_writes_nothing(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    built = paper.build()
    assert (built.rendered, built.written, built.deleted) == (0, 0, 0)
    assert paper.files() == before


def test_one_edit_changes_its_pages_and_no_others(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    paper.change(4, title="Edited", updated_at=NOW)
    built = paper.build()
    assert built.rendered == 1
    changed = {name for name, content in paper.files().items() if before.get(name) != content}
    lists = {"channels/c1/page-1.html", "channels/c1/feed.atom", "sitemap-1.xml", ".manifest.json"}
    assert changed == {"articles/4.html", *lists}


def test_a_new_article_leaves_old_pages_of_its_channel_alone(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    paper.add(200)
    paper.build()
    after = paper.files()
    assert after["channels/c1/page-1.html"] == before["channels/c1/page-1.html"]
    assert after["channels/c1/page-2.html"] != before["channels/c1/page-2.html"]
    assert b"articles/200.html" in after["index.html"]


def test_what_is_taken_down_or_not_out_yet_is_nowhere(paper: Paper) -> None:
    paper.add(300, status="scheduled")
    paper.add(301, published_at=NOW + timedelta(hours=1))
    paper.build()
    paper.change(95, status="taken_down")
    built = paper.build()
    assert built.deleted == 1
    for name, content in paper.files().items():
        for gone in (b"articles/95.html", b"articles/300.html", b"articles/301.html"):
            assert gone not in content, name
    assert not (paper.root / "articles/95.html").exists()


def test_a_channel_that_moved_its_last_article_away_is_gone(paper: Paper) -> None:
    paper.add(400, channel_id=3)
    paper.build()
    paper.change(400, channel_id=1, updated_at=NOW)
    paper.build()
    assert not any(name.startswith("channels/c3/") for name in paper.files())
    assert b"C&amp;1" in (paper.root / "articles/400.html").read_bytes()


def test_the_last_good_site_stays_when_most_articles_vanish(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    with transaction(paper.engine) as conn:
        conn.execute(delete(article).where(article.c.id > 10))
    with pytest.raises(JobFailed, match="85 of 95"):
        paper.build()
    assert paper.files() == before


def test_the_last_good_page_stays_when_one_cannot_be_rendered(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    paper.build()
    before = paper.files()
    good = Renderer.article

    def fail(self: Renderer, story: Any, section: Any) -> bytes:
        if story.teaser.id == 7:
            raise ValueError("cannot")
        return good(self, story, section)

    monkeypatch.setattr(Renderer, "article", fail)
    for id_ in (7, 8):
        paper.change(id_, body="<p>new</p>", updated_at=NOW)
    built = paper.build()
    assert (built.failed, built.rendered) == (1, 1)
    assert paper.files()["articles/7.html"] == before["articles/7.html"]
    monkeypatch.setattr(Renderer, "article", good)
    assert paper.build().rendered == 1
    assert b"new" in paper.files()["articles/7.html"]


def test_a_build_that_was_stopped_goes_on_where_it_was(paper: Paper) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(JobFailed, match="stop"):
        paper.build(stopping=stopping)
    (paper.root / "articles").mkdir(parents=True, exist_ok=True)
    (paper.root / "articles/.x.new").write_bytes(b"half a pa")
    paper.build()
    assert not list(paper.root.rglob(".*.new"))


def test_a_reader_sees_the_old_page_or_the_new_one(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path)
    versions = [bytes([65 + n]) * 100_000 for n in range(26)]
    folder.write("a/page.html", versions[0])
    over = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not over.is_set():
            seen.add((tmp_path / "a/page.html").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in versions * 3:
        folder.write("a/page.html", content)
    over.set()
    reader.join()
    assert seen <= set(versions)
    assert folder.written >= 26


def test_a_failed_write_leaves_the_old_page_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SiteFolder(tmp_path)
    folder.write("page.html", b"old")

    def fail(_self: Path, _target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        folder.write("page.html", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert folder.read("page.html") == b"old"
