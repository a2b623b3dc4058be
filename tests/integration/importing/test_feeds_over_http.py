"""Feeds and lists of feeds from a real web server into the database."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.integration.importing.conftest import ANYWHERE, Stored, make_row
from tests.lab.web import Web
from tidings.importing import Counts, Format, InputError, import_articles, opml


def feed(name: str, *ids: str) -> str:
    items = "".join(
        f"<item><guid>urn:{id_}</guid><title>{id_}</title><description>d</description></item>"
        for id_ in ids
    )
    return f"<rss version='2.0'><channel><title>{name}</title>{items}</channel></rss>"


def test_a_file_is_imported_from_its_address(
    web: Web, engine: Engine, stored: Stored, tmp_path: Path
) -> None:
    """Compressed, behind a redirect, without an extension; twice, the second time for nothing."""
    data = gzip.compress(
        "".join(json.dumps(make_row(number)) + "\n" for number in range(3)).encode()
    )
    web.serve("/export", data, "application/octet-stream")
    url = web.redirect("/latest", "/export")
    meant: Any = {"rules": ANYWHERE, "folder": tmp_path, "format_": Format.JSONL}
    assert import_articles(url, engine, **meant).counts == Counts(created=3)
    assert import_articles(url, engine, **meant).counts == Counts(unchanged=3)
    assert stored.count() == 3
    assert [
        path.name for path in tmp_path.iterdir() if not path.name.startswith(".") and path.is_file()
    ] == []


def test_an_address_that_fails_is_one_line(web: Web, engine: Engine, tmp_path: Path) -> None:
    """With the address and the reason."""
    with pytest.raises(InputError, match=rf"^{web.url('/gone')}: 404 Not Found$"):
        import_articles(web.url("/gone"), engine, rules=ANYWHERE, folder=tmp_path)
    page = web.serve("/page", "<!doctype html><html>", "application/rss+xml")
    with pytest.raises(InputError, match="begins with <html>"):
        import_articles(page, engine, rules=ANYWHERE, folder=tmp_path)


def test_feeds_that_fail_do_not_keep_the_others_out(
    web: Web, engine: Engine, stored: Stored, tmp_path: Path
) -> None:
    """One reject each, with the line of the list, the address and the reason."""
    good, zipped = (
        web.serve("/good", feed("Good", "1", "2")),
        web.serve("/zipped", gzip.compress(feed("Z", "3").encode())),
    )
    html = web.serve("/html", "<html></html>")
    bomb = web.serve("/bomb", gzip.compress(b"<rss>" + b" " * (opml.MAX_FEED_BYTES + 1)))
    listed = tmp_path / "list.opml"
    listed.write_text(
        f"""<opml version="2.0"><body><outline text="Sea">
<outline text="Good" xmlUrl="{good}"/>
<outline text="Gone" xmlUrl="{web.url("/gone")}"/>
<outline text="Page" xmlUrl="{html}"/>
<outline text="Ours" xmlUrl="file:///etc/hostname"/>
<outline text="Bomb" xmlUrl="{bomb}"/>
</outline>
<outline text="Zipped" xmlUrl="{zipped}"/>
<outline text="Again" xmlUrl="{zipped}"/>
</body></opml>"""
    )

    report = import_articles(str(listed), engine, rules=ANYWHERE, folder=tmp_path / "import")

    assert report.counts == Counts(created=3, duplicates=1, rejected=4)
    assert [
        (reject.place.line, reject.place.feed, reject.reason) for reject in report.first_rejects
    ] == [
        (3, web.url("/gone"), "404 Not Found"),
        (4, html, "neither RSS nor Atom"),
        (5, "file:///etc/hostname", "only http and https addresses are fetched"),
        (6, bomb, f"more than {opml.MAX_FEED_BYTES} bytes"),
    ]
    # A folder of the list is a channel; a feed in none has its own name.
    assert {row.title: row.slug for row in stored.articles().values()} == {
        "1": "sea",
        "2": "sea",
        "3": "z",
    }


def test_feeds_are_fetched_a_few_at_a_time(
    web: Web, engine: Engine, stored: Stored, tmp_path: Path
) -> None:
    """The whole of a group waits for its slowest feed, not for the sum of them; the next group
    waits for this one."""
    together = threading.Barrier(opml.FETCHES_AT_ONCE)

    def slow(request: BaseHTTPRequestHandler) -> None:
        # Passes only if a whole group is being fetched at once.
        together.wait(10)
        body = feed("Slow", request.path[1:]).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    count = 2 * opml.FETCHES_AT_ONCE
    outlines = "".join(
        f"<outline text='f' xmlUrl='{web.url(f'/{number}')}'/>" for number in range(count)
    )
    web.answers = {f"/{number}": slow for number in range(count)}
    (tmp_path / "list.opml").write_text(f"<opml><body>{outlines}</body></opml>")
    assert import_articles(
        str(tmp_path / "list.opml"), engine, rules=ANYWHERE, folder=tmp_path / "x"
    ).counts == Counts(created=count)


def test_a_list_at_an_address(web: Web, engine: Engine, tmp_path: Path) -> None:
    """As readers export it."""
    web.serve("/feed", feed("News", "1"))
    url = web.serve(
        "/list.opml", f"<opml><body><outline text='f' xmlUrl='{web.url('/feed')}'/></body></opml>"
    )
    assert import_articles(
        url, engine, rules=ANYWHERE, folder=tmp_path, channel="Mine"
    ).counts == Counts(created=1)


def test_links_of_a_listed_feed_that_has_moved_lead_to_where_it_stands(
    web: Web, engine: Engine, stored: Stored, tmp_path: Path
) -> None:
    """A feed without a page of its own; the list has its old address."""
    item = "<item><title>Tide</title><link>tide.html</link></item>"
    web.serve("/new/feed", f"<rss version='2.0'><channel><title>Sea</title>{item}</channel></rss>")
    moved = web.redirect("/old/feed", "/new/feed", 301)
    listed = tmp_path / "list.opml"
    listed.write_text(f"<opml><body><outline xmlUrl='{moved}'/></body></opml>")

    import_articles(str(listed), engine, rules=ANYWHERE, folder=tmp_path / "import")

    assert [row.url for row in stored.articles().values()] == [web.url("/new/tide.html")]
