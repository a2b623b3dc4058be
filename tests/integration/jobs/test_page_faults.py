"""What must not harm the static site: killed builds, full disks, two builders, hostile or vanishing
articles."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from jobs.pages import build
from jobs.pages.build import build_pages, build_site
from jobs.pages.files import SiteFolder, open_folder
from jobs.static.context import Context, JobFailedError, Run
from tests.integration.jobs.paper import NOW, SITE, Paper
from tests.lab.servers import wait_until
from tests.lab.site_checks import check_site
from tidings.importing import import_rows
from tidings.news.rendering import content
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer
from tidings.news.tables import article, channel
from tidings.store.engine import transaction


def test_the_last_good_site_stays_when_most_articles_vanish(paper: Paper) -> None:
    paper.build()
    before = paper.files()
    with transaction(paper.engine) as conn:
        conn.execute(delete(article).where(article.c.id > 10))
    with pytest.raises(JobFailedError, match="85 of 95"):
        paper.build()
    assert paper.files() == before


def test_the_loss_can_be_confirmed_and_then_every_trace_goes(paper: Paper) -> None:
    paper.build()
    with transaction(paper.engine) as conn:
        conn.execute(delete(article).where(article.c.id > 10))
    (paper.root / build.MANIFEST).unlink()
    assert paper.build().articles == 10
    assert sum(name.startswith("articles/") for name in paper.files()) == 10
    assert check_site(paper.root, SITE) == []


def cannot_render(monkeypatch: pytest.MonkeyPatch, *ids: int) -> None:
    good = Renderer.article

    def fail(self: Renderer, story: Any) -> bytes:
        if story.teaser.entry.id in ids:
            raise RuntimeError("cannot")
        return good(self, story)

    monkeypatch.setattr(Renderer, "article", fail)


def test_the_last_good_page_stays_when_one_cannot_be_rendered(
    paper: Paper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paper.build()
    before = paper.files()
    for id_ in (7, 8):
        paper.change(id_, body="<p>new</p>", updated_at=NOW)
    failed = build._FAILED._value.get()
    with monkeypatch.context() as patch:
        cannot_render(patch, 7)
        built = paper.build()
    assert (built.failed, built.rendered) == (1, 1)
    assert build._FAILED._value.get() == failed + 1
    assert "page_failed" in capsys.readouterr().out
    assert paper.files()["articles/7.html"] == before["articles/7.html"]
    assert paper.build().rendered == 1
    assert b"new" in paper.files()["articles/7.html"]


def test_an_article_that_never_had_a_page_is_not_linked_to(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper.build()
    paper.add(200)
    with monkeypatch.context() as patch:
        cannot_render(patch, 200)
        assert (paper.build().failed, paper.build().failed) == (1, 1), "it is tried again each time"
    assert check_site(paper.root, SITE) == []
    assert paper.build().rendered == 1
    assert b'"/articles/200"' in paper.files()["index.html"]


def test_a_job_with_a_failed_article_says_so_and_publishes_the_others(
    small_paper: Paper, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot_render(monkeypatch, 9)
    settings = make_settings(site_url=SITE)
    context = Context(small_paper.engine, None, settings, "me")  # type: ignore[arg-type]
    with pytest.raises(
        JobFailedError, match="1 articles could not be rendered; 94 articles, 94 rendered"
    ):
        build_pages(Run(context, NOW, NOW))
    assert check_site(settings.site.var_dir / "site", SITE) == []


def test_an_article_that_is_taken_down_while_the_site_is_built_is_not_linked_to(
    paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = content.read_entries

    def read_and_take_down(*args: Any) -> Any:
        entries = read(*args)
        paper.change(95, status="taken_down", updated_at=NOW)
        return entries

    monkeypatch.setattr(build, "read_entries", read_and_take_down)
    assert paper.build().articles == 94
    assert check_site(paper.root, SITE) == []


def test_an_unreadable_manifest_costs_time_and_nothing_else(small_paper: Paper) -> None:
    small_paper.build()
    before = small_paper.files()
    (small_paper.root / build.MANIFEST).write_bytes(b'{"edition": 1, "arti')
    built = small_paper.build()
    assert (built.rendered, built.files_written) == (95, 0)
    assert small_paper.files() == before


@pytest.mark.parametrize("seed", range(3))
def test_at_no_moment_does_a_link_lead_nowhere(
    small_paper: Paper, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Looked at after every single file that a build writes or deletes, from the home page on."""
    steps = 0

    def look(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            nonlocal steps
            result = method(*args)
            if (small_paper.root / "index.html").exists():
                steps += 1
                small_paper.reachable()
            return result

        return wrapped

    monkeypatch.setattr(SiteFolder, "_publish", look(SiteFolder._publish))
    monkeypatch.setattr(SiteFolder, "delete", look(SiteFolder.delete))
    rng = random.Random(seed)
    with transaction(small_paper.engine) as conn:
        conn.execute(delete(article).where(article.c.id > 45))
    small_paper.build()
    for number in range(1, 4):
        small_paper.add(
            *range(1000 * number, 1000 * number + rng.choice((1, 5, 40))),
            channel_id=rng.randrange(1, 4),
        )
        for id_ in rng.sample(range(1, 46), 6):
            change = rng.choice(
                (
                    {"status": "taken_down"},
                    {"status": "published"},
                    {"channel_id": rng.randrange(1, 4)},
                )
            )
            small_paper.change(id_, updated_at=NOW + timedelta(seconds=number), **change)
        small_paper.build()
        assert check_site(small_paper.root, SITE) == []
    assert steps > 30


@pytest.mark.parametrize("files_first", [1, 50, 101])
def test_a_build_that_was_killed_is_simply_done_again(small_paper: Paper, files_first: int) -> None:
    """What it had written of an article that is taken down before the next build goes as well."""
    process = small_paper.build_aside()
    wait_until(lambda: len(list(small_paper.root.rglob("*.*ml"))) >= files_first, 20, "some files")
    process.kill()
    process.communicate()
    half = small_paper.files()
    assert all(page.endswith(b"</html>") for name, page in half.items() if name.endswith(".html"))
    written = [int(Path(name).stem) for name in half if name.startswith("articles/")]
    small_paper.change(written[0], status="taken_down", updated_at=NOW)
    small_paper.build()
    assert f"articles/{written[0]}.html" not in small_paper.files()
    assert not list(small_paper.root.rglob(".*.new"))
    assert check_site(small_paper.root, SITE) == []


def test_a_full_disk_leaves_the_last_good_pages_and_what_was_taken_down_goes(
    small_paper: Paper,
) -> None:
    small_paper.build()
    before = small_paper.files()
    small_paper.change(7, body=f"<p>{'long ' * 20_000}</p>", updated_at=NOW)
    small_paper.change(8, status="taken_down", updated_at=NOW)
    process = small_paper.build_aside(largest_file=50_000)
    _, errors = process.communicate(timeout=60)
    assert "File too large" in errors
    after = small_paper.files()
    assert after["articles/7.html"] == before["articles/7.html"]
    assert "articles/8.html" not in after
    assert not list(small_paper.root.rglob(".*.new"))
    small_paper.build()
    assert len(small_paper.files()["articles/7.html"]) > 100_000
    assert check_site(small_paper.root, SITE) == []


def test_of_two_builders_one_does_nothing(small_paper: Paper) -> None:
    with (
        open_folder(small_paper.root),
        pytest.raises(JobFailedError, match="another build is writing"),
    ):
        small_paper.build()
    assert small_paper.files() == {}
    assert small_paper.build().rendered == 95


def test_what_strangers_write_makes_valid_pages(small_paper: Paper) -> None:
    rows = [
        {
            "title": "</title><script>alert(1)</script>",
            "body": "text",
            "author": "</bdi>\x0c<b>",
            "url": 'https://x.example/"><script>',
        },
        {
            "title": "\u202eright to left\ufffe",
            "body": "# \u05e9\u05dc\u05d5\u05dd\n\n#### "
            "deep\n\n![](https://x.example/a.png)\n\n###### deeper",
        },
        {
            "title": "\U0001f469\u200d\U0001f680 \U0001ffff" * 30,
            "body_html": "<p><i>open<p><table><a href=https://x.example/><b>" * 50,
        },
        {
            "title": "&amp; ]]> <![CDATA[",
            "summary": "]]>",
            "body": "<!-- --!> <svg><style></title>x</style></svg> words",
        },
        {"title": "long", "body": "word " * 100_000},
        {
            "title": "other letters",
            "channel": "\u65b0\u805e \u0639\u0631\u0628\u064a",
            "body": "words",
        },
        {"title": "many of them", "channel": "\U00020000" * 64, "body": "words"},
    ]
    report = import_rows(
        [{"channel": "c3", "id": f"s{n}", **row} for n, row in enumerate(rows)], small_paper.engine
    )
    assert report.counts.created == len(rows), report.first_rejects
    # Not by the importer, which would refuse it, but by some other program.
    small_paper.add(500, title="", summary="", body="", channel_id=3)
    small_paper.add(501, body=f"<p>{'0123456789' * 1_000_000}</p>", channel_id=3)
    small_paper.add(
        502,
        title="\x00\x85\x9f\U0010ffff",
        body="<p>\x0b\x7f\ufdd0</p>",
        published_at=datetime(999, 1, 1, tzinfo=UTC),
    )
    with transaction(small_paper.engine) as conn:
        conn.execute(update(channel).where(channel.c.id == 2).values(slug="../../c2"))
    built = build_site(
        small_paper.engine, small_paper.root, Renderer(Masthead(SITE)), now=datetime.now(UTC)
    )
    assert (built.failed, built.articles) == (0, 95 + len(rows) + 3)
    assert check_site(small_paper.root, SITE) == []
    assert not [name for name, content in small_paper.files().items() if b"<script" in content]
    assert {path.name for path in small_paper.root.parent.iterdir()} == {"site", "var"}


def test_a_build_that_was_stopped_goes_on_where_it_was(paper: Paper) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(JobFailedError, match="stop"):
        paper.build(stopping=stopping)
    assert paper.build().articles == 95


def test_pages_can_be_read_by_another_user_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with open_folder(tmp_path / "site") as folder:
            folder.write("a/page.html", b"page")
    finally:
        os.umask(before)
    assert (tmp_path / "site/a/page.html").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "site/a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "site").stat().st_mode & 0o777 == 0o755


def test_a_reader_sees_the_old_page_or_the_new_one(tmp_path: Path) -> None:
    versions = [bytes([65 + n]) * 100_000 for n in range(26)]
    over = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not over.is_set():
            seen.add((tmp_path / "a/page.html").read_bytes())

    with open_folder(tmp_path) as folder:
        folder.write("a/page.html", versions[0])
        reader = threading.Thread(target=read)
        reader.start()
        written = [folder.write("a/page.html", content) for content in versions * 3]
        over.set()
        reader.join()
    assert seen <= set(versions)
    assert written == [False, *[True] * 77]


def test_a_failed_write_leaves_the_old_page_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    def build() -> None:
        with open_folder(tmp_path) as folder:
            folder.write("page.html", b"old")
            monkeypatch.setattr(os, "fsync", fail)
            folder.write_in_order([("page.html", b"new"), ("other.html", b"new")])

    with pytest.raises(OSError, match="No space"):
        build()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "page.html"]
    assert (tmp_path / "page.html").read_bytes() == b"old"
