"""nginx, set up as documented, sends the site while it is rebuilt under load: no half page, no 404,
nothing old."""

from __future__ import annotations

import random
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError

import pytest
from sqlalchemy import update

from tests.integration.jobs.paper import NOW, Paper
from tests.lab.nginx import serve_site
from tests.lab.page_readers import Answer, Journal, readers, tell
from tidings.news.images import Images
from tidings.news.tables import article
from tidings.store.engine import transaction

EDITIONS = 25
# Answers after each edition, however slowly readers get them: of three editions in four one reads
# the home page.
READ_OF_EACH = 150
VOLATILE = range(80, 96)


def publish_edition(paper: Paper, number: int, rng: random.Random) -> None:
    """A few articles say something else, at great length; some go, and some come back."""
    for id_ in rng.sample(range(1, 80), 5):
        body = f"<p>edition {number}</p>" + "<p>filler</p>" * 3000
        paper.change(
            id_, title=f"Edition {number}", body=body, updated_at=NOW + timedelta(seconds=number)
        )
    with transaction(paper.engine) as conn:
        for status in ("published", "taken_down"):
            ids = rng.sample(VOLATILE, 3)
            conn.execute(
                update(article).where(article.c.id.in_(ids)).values(status=status, updated_at=NOW)
            )


def test_no_reader_meets_half_a_page_or_none_or_an_old_one(
    small_paper: Paper, tmp_path: Path
) -> None:
    journal = Journal(small_paper.root)
    journal.build(small_paper.build)
    rng = random.Random(4)
    with (
        serve_site(small_paper.root, tmp_path) as url,
        readers(url, sorted(small_paper.files()), 2) as found,
    ):
        for number in range(1, EDITIONS):
            publish_edition(small_paper, number, rng)
            journal.build(small_paper.build)
            found.wait_for(READ_OF_EACH)
    assert tell(journal, found.answers) == {}
    assert len({answer.digest for answer in found.answers if answer.path == "index.html"}) > 5
    assert any(answer.digest is None for answer in found.answers), "of what was taken down"


def test_a_wrong_answer_would_be_noticed(small_paper: Paper) -> None:
    journal = Journal(small_paper.root)
    journal.build(small_paper.build)
    (first,) = journal.versions["index.html"][1:]
    small_paper.change(95, title="Other", updated_at=NOW)
    journal.build(small_paper.build)
    second = journal.versions["index.html"][-1]
    between_s = (second.from_s, first.until_s)
    after_s = first.until_s + 1
    answers = {
        Answer("index.html", *between_s, first.digest, ""): "",
        Answer("index.html", *between_s, second.digest, ""): "",
        Answer("index.html", after_s, after_s, second.digest, ""): "",
        Answer("index.html", after_s, after_s, first.digest, ""): "a version that was not current",
        Answer("index.html", after_s, after_s, None, ""): "404 for a page that was there",
        Answer("index.html", after_s, after_s, None, "half a page"): "half a page",
    }
    assert {answer: journal.judge(answer) for answer in answers} == answers


def test_the_documented_server_sends_each_file_for_what_it_is(
    small_paper: Paper, tmp_path: Path
) -> None:
    small_paper.build()
    picture = "ab" * 32
    Images(small_paper.root.parent / "images").write(picture, b"RIFF")
    with serve_site(small_paper.root, tmp_path) as url:
        with urllib.request.urlopen(f"{url}/images/{picture}", timeout=60) as answer:
            assert (answer.read(), answer.headers["Content-Type"]) == (b"RIFF", "image/webp")
            assert "immutable" in answer.headers["Cache-Control"]
        for path, kind in (
            ("/", "text/html; charset=utf-8"),
            ("/channels/1", "text/html; charset=utf-8"),
            ("/channels/1/page-1", "text/html; charset=utf-8"),
            ("/articles/7", "text/html; charset=utf-8"),
            ("/articles/7.html", "text/html; charset=utf-8"),
            ("/feed.atom", "application/atom+xml; charset=utf-8"),
            ("/feed.rss", "application/rss+xml; charset=utf-8"),
            ("/sitemap.xml", "text/xml; charset=utf-8"),
            ("/robots.txt", "text/plain; charset=utf-8"),
        ):
            with urllib.request.urlopen(url + path, timeout=60) as answer:
                assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (
                    kind,
                    "public, max-age=60",
                )
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for path in ("/articles/0.html", "/.manifest.json", "/.lock", "/articles/.7.html.new"):
            with pytest.raises(HTTPError, match="404") as caught:
                urllib.request.urlopen(url + path, timeout=60)
            with caught.value as answer:
                assert b"There is no such page" in answer.read()
