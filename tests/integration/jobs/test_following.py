"""Pages follow what changed within seconds on every machine, whichever of them the job runs on."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete, insert, update

from jobs.pages import following
from jobs.pages.emblem import ICON, LOGO, draw_emblem
from jobs.pages.files import open_folder
from jobs.pages.following import follow_pages
from jobs.static.context import Context
from tests.integration.jobs.paper import SITE, Paper
from tests.lab.servers import wait_until
from tests.lab.site_checks import check_site
from tidings.news.changes import read_mark
from tidings.news.tables import article, channel
from tidings.store.engine import transaction

LONG_S = 60


@contextmanager
def following_on(paper: Paper, make_settings: Any, *var_dirs: Path) -> Iterator[list[Path]]:
    """A daemon's loop for each of these machines; gives their folders of pages."""
    contexts = [
        Context(paper.engine, None, make_settings(site_url=SITE, var_dir=var_dir), "me")  # type: ignore[arg-type]
        for var_dir in var_dirs
    ]
    threads = [threading.Thread(target=follow_pages, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    try:
        yield [var_dir / "site" for var_dir in var_dirs]
    finally:
        for context in contexts:
            context.stopping.set()
        for thread in threads:
            thread.join(LONG_S)


def holds(folders: list[Path], path: str, text: bytes = b"") -> bool:
    files = [folder / path for folder in folders]
    return all(file.is_file() and text in file.read_bytes() for file in files)


def test_every_machine_is_complete_and_follows_what_changes(
    paper: Paper, make_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No build of the minute helps: each change is seen by itself."""
    monkeypatch.setattr(following, "BUILD_EVERY_S", 3600.0)
    places = tmp_path / "one", tmp_path / "two"
    with following_on(paper, make_settings, *places) as folders:
        wait_until(lambda: holds(folders, "sitemap.xml"), LONG_S, "the first builds")
        assert [check_site(folder, SITE) for folder in folders] == [[], []]

        paper.add(500, published_at=datetime.now(UTC), updated_at=datetime.now(UTC))
        wait_until(lambda: holds(folders, "articles/500.html"), LONG_S, "a new article")

        paper.change(500, image="ab" * 32)
        cover = b'src="/images/' + b"ab" * 32
        wait_until(lambda: holds(folders, "index.html", cover), LONG_S, "its cover")

        paper.change(500, status="taken_down", updated_at=datetime.now(UTC))
        wait_until(
            lambda: not any((folder / "articles/500.html").exists() for folder in folders),
            LONG_S,
            "the take-down",
        )
        wait_until(lambda: not holds(folders, "feed.rss", b"/articles/500<"), LONG_S, "the feed")

        with transaction(paper.engine) as conn:
            conn.execute(update(channel).where(channel.c.id == 1).values(name="Elsewhere"))
        wait_until(lambda: holds(folders, "channels/1.html", b"Elsewhere"), LONG_S, "a new name")


def test_a_builder_in_the_same_folder_is_waited_for(
    paper: Paper, make_settings: Any, tmp_path: Path
) -> None:
    """The job of the minute and the loop build the same folder."""
    with ExitStack() as stack:
        with open_folder(tmp_path / "site"):
            (folder,) = stack.enter_context(following_on(paper, make_settings, tmp_path))
            assert not (folder / "index.html").exists()
        wait_until((folder / "index.html").exists, LONG_S, "the build")


def test_a_take_down_of_most_articles_is_no_fault_of_the_databases(paper: Paper) -> None:
    """Their rows say that it was meant; such as when the demo is removed."""
    paper.build()
    with transaction(paper.engine) as conn:
        conn.execute(update(article).where(article.c.id > 10).values(status="taken_down"))

    assert paper.build().articles == 10
    with transaction(paper.engine) as conn:
        conn.execute(delete(article).where(article.c.id > 10))
    assert paper.build().articles == 10


def test_a_change_whose_transaction_was_slow_is_seen(paper: Paper) -> None:
    """It has an earlier stamp than what was seen before."""
    late, now = datetime.now(UTC) - timedelta(seconds=30), datetime.now(UTC)
    paper.change(3, updated_at=now)
    with paper.engine.connect() as conn:
        before = read_mark(conn)
        assert read_mark(conn) == before
    paper.change(4, updated_at=late)

    with paper.engine.connect() as conn:
        seen = read_mark(conn)
    assert seen != before
    with transaction(paper.engine) as conn:
        conn.execute(delete(article).where(article.c.id == 4))
        assert read_mark(conn) not in (before, seen)
        conn.execute(insert(channel).values(id=9, slug="c9", name="C9"))
        assert read_mark(conn) not in (before, seen)


def test_a_logo_is_made_small_and_stands_in_the_tab(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1000), "teal").save(tmp_path / "logo.jpg")

    made = draw_emblem(tmp_path / "logo.jpg")

    (tmp_path / "made.png").write_bytes(made[LOGO])
    (tmp_path / "made.ico").write_bytes(made[ICON])
    with Image.open(tmp_path / "made.png") as shown:
        assert shown.size == (384, 128)
    with Image.open(tmp_path / "made.ico") as icon:
        assert icon.format == "ICO"
        assert (48, 48) in icon.info["sizes"]


def damage_png() -> bytes:
    """A picture whose second part has no name, which Pillow finds while it decodes the first."""
    noise = random.Random(1).randbytes(256 * 256 * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", (256, 256), noise).save(out, "PNG")
    first, name, rest = out.getvalue().partition(b"IDAT")
    return first + name + rest.replace(name, bytes(4), 1)


@pytest.mark.parametrize(
    "content", [None, b"", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"x" * 50, damage_png()]
)
def test_a_logo_that_is_no_picture_leaves_the_sites_own_icon(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "logo.png").write_bytes(content)

    assert draw_emblem(tmp_path / "logo.png") == draw_emblem(None)
    assert draw_emblem(None).keys() == {ICON}
