"""The example comes and goes by two commands, and takes nothing with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, select

from tests.lab.newsroom import Clock, Newsroom
from tests.lab.sites import PATIENT
from tidings.commands.demo import load_demo_once
from tidings.commands.main import main
from tidings.demo import illustrating, removal
from tidings.demo.covers import draw_cover
from tidings.demo.load import EDITIONS
from tidings.editing.acting import shell_actor
from tidings.editing.audit import find_entries
from tidings.editing.tables import audit
from tidings.news.articles import Articles
from tidings.news.channels import read_channels
from tidings.news.images import FOLDER, Images
from tidings.news.tables import article, article_count, author, channel, image
from tidings.process.clock import now_ms
from tidings.process.errors import PREFIX
from tidings.process.settings import load_settings
from tidings.reading.acts import Action
from tidings.reading.events import Event, pack_ids
from tidings.reading.storing import Placed, store_events
from tidings.reading.tables import behaviour, exposure, reader
from tidings.shop.stock import add_product, find_products
from tidings.store.engine import transaction

Type = Callable[..., Result]
REAL_READER = 2**52 + 7
# A cover is always the same one, and to draw them is half of a load.
_draw_once = cache(draw_cover)


@pytest.fixture
def typed(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Type:
    """`typed("demo", "load")` at a shell of that site, where no process is waited for."""
    monkeypatch.setenv(f"{PREFIX}VAR_DIR", str(tmp_path))
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", redis_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_TIMEOUT_S", str(PATIENT["redis_timeout_s"]))
    monkeypatch.setattr(removal, "LET_GO_S", 0.01)
    monkeypatch.setattr(illustrating, "draw_cover", _draw_once)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return run


def count(engine: Engine) -> dict[str, int]:
    """How many rows each table has that the demo touches."""
    tables = (article, article_count, author, behaviour, exposure, image, reader)
    with engine.connect() as conn:
        counted = {
            table.name: conn.scalar(select(func.count()).select_from(table)) or 0
            for table in tables
        }
        return counted | {"channel": len(read_channels(conn))}


def made(action: Action, stamp_ms: int, **values: Any) -> Event:
    """What a reader who is no simulated one did, a moment after the batch was made."""
    place = {"article_id": 0, "position": 0} | values
    return Event(
        action=action,
        reader_id=REAL_READER,
        channel_id=0,
        stamp_ms=stamp_ms,
        at_ms=stamp_ms + 1500,
        **place,
    )


def test_the_demo_leaves_a_site_as_it_was(
    typed: Type, engine: Engine, redis_client: redis.Redis
) -> None:
    """The site's own articles stay, also one in a channel of the demo's by an author of its; so do
    its products, and a reader who was there meanwhile. What was cached of the demo is gone."""
    room = Newsroom(engine, Clock(now_ms()))
    with transaction(engine) as conn:
        conn.execute(channel.insert().values(id=1, slug="books", name="Our books"))
        conn.execute(author.insert().values(id=5, name="Quillon Pagewright"))
        own_product = add_product(conn, "Our own", 100, "EUR")
    own = room.article(author_id=5)
    before = count(engine)
    loaded = typed("demo", "load")
    assert (loaded.exit_code, loaded.output[:19]) == (0, "demo: 150 articles,")
    with engine.connect() as conn:
        demos = list(conn.scalars(select(article.c.id).where(article.c.id != own)))
    articles = Articles(engine, redis_client, card_ttl_s=300, clock=now_ms)
    assert len(articles.cards(demos)) == len(demos) == 150
    with transaction(engine) as conn:
        stamp_ms = now_ms() - 60_000
        batch = (own, demos[0])
        seen = made(Action.EXPOSURE, stamp_ms, packed_ids=pack_ids(batch))
        clicks = [
            made(Action.CLICK, stamp_ms, article_id=id_, position=place)
            for place, id_ in enumerate(batch)
        ]
        store_events(conn, [Placed(1, event) for event in (seen, *clicks)])

    removed = typed("demo", "remove")

    assert removed.output.startswith("demo: 150 articles, "), removed.output
    assert removed.output.endswith("200 readers removed\n")
    after = count(engine)
    assert after == before | {"behaviour": 2, "exposure": 1, "reader": 1, "article_count": 1}
    assert articles.cards([*demos, own]).keys() == {own}
    with engine.connect() as conn:
        assert [product.product_id for product in find_products(conn)] == [own_product]
    assert typed("demo", "remove").output == "demo: there is none on this site\n"


def test_the_demo_can_be_loaded_again_once_it_was_removed(typed: Type, engine: Engine) -> None:
    """With its editions, and readers anew."""
    first = typed("demo", "load").output
    counted = count(engine)
    typed("demo", "remove")
    assert set(count(engine).values()) == {0}

    assert f"{len(EDITIONS)} editions on sale" in first
    assert typed("demo", "load").output.partition(",")[0] == first.partition(",")[0]
    assert count(engine)["article"] == counted["article"]


def test_no_later_article_or_channel_gets_a_number_of_the_demos(
    typed: Type, engine: Engine, tmp_path: Path
) -> None:
    """Readers have seen, saved and hidden those, and hold tokens of theirs."""
    typed("demo", "load")
    with engine.connect() as conn:
        of_demo = set(conn.scalars(select(article.c.id)))
        channels = {known.channel_id for known in read_channels(conn)}
    typed("demo", "remove")
    story = tmp_path / "story.md"
    story.write_text("# High tide\n\nThe harbour is full.\n")

    typed("channels", "add", "Harbour")
    created = typed("articles", "create", str(story), "--channel", "harbour")

    assert created.exit_code == 0, created.output
    with engine.connect() as conn:
        assert conn.scalars(select(article.c.id)).one() > max(of_demo)
        assert {known.channel_id for known in read_channels(conn)}.isdisjoint(channels)


def test_loading_it_twice_only_gives_its_articles_new_dates(typed: Type, engine: Engine) -> None:
    typed("demo", "load")
    counted = count(engine)

    assert typed("demo", "load").output == "demo: 150 articles; there are readers already\n"
    assert counted == count(engine)


def test_a_removal_that_was_interrupted_goes_on(
    typed: Type, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while processes let go of the articles: hidden, and still there to be removed."""
    typed("demo", "load")

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removal, "sleep", interrupt)
        assert typed("demo", "remove").exit_code == 1
    assert typed("articles", "list", "--status", "published", "--json").output == ""

    assert typed("demo", "remove").output.startswith("demo: 150 articles, 0 editions")
    assert set(count(engine).values()) == {0}


def test_who_loads_and_removes_it_is_entered_in_the_audit_log(typed: Type, engine: Engine) -> None:
    """Once for each time that there was something to do."""
    for verb in ("load", "remove", "remove"):
        assert typed("demo", verb).exit_code == 0

    with engine.connect() as conn:
        entries = find_entries(conn, limit=10, nouns={"demo"})
    assert [(entry.verb, entry.actor) for entry in entries] == [
        ("remove", shell_actor().name),
        ("load", shell_actor().name),
    ]


def test_a_demo_that_cannot_be_entered_in_the_log_is_not_loaded_or_removed(
    typed: Type, engine: Engine
) -> None:
    with transaction(engine) as conn:
        audit.drop(conn)
    assert typed("demo", "load").exit_code != 0
    assert set(count(engine).values()) == {0}

    with transaction(engine) as conn:
        audit.create(conn)
    typed("demo", "load")
    loaded = count(engine)
    with transaction(engine) as conn:
        audit.drop(conn)
    assert typed("demo", "remove").exit_code != 0
    assert count(engine) == loaded
    with transaction(engine) as conn:
        audit.create(conn)


def test_each_of_its_articles_shows_a_cover_of_its_own_as_long_as_it_is_there(
    typed: Type, engine: Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """Kept as any source's covers are: what a card names is a file in the folder of pictures."""
    typed("demo", "load")
    with engine.connect() as conn:
        ids = list(conn.scalars(select(article.c.id)))
    cards = Articles(engine, redis_client, card_ttl_s=300, clock=now_ms).cards(ids).values()
    named = {card.cover for card in cards}

    assert len(named) == len(ids) == 150
    images = Images(tmp_path / FOLDER)
    assert all(images.read((cover or "").removeprefix("/images/")) for cover in named)
    typed("demo", "remove")
    assert [path for path in (tmp_path / FOLDER).rglob("*") if path.is_file()] == []


def test_loading_it_again_draws_what_is_missing(
    typed: Type, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a load for which there was no room, or one of a version that drew none."""
    monkeypatch.setenv(f"{PREFIX}IMAGES_MAX_MIB", "1")
    assert typed("demo", "load").output.startswith("demo: 150 articles, ")
    few = count(engine)["image"]
    monkeypatch.delenv(f"{PREFIX}IMAGES_MAX_MIB")
    typed("demo", "load")

    assert 0 < few < 150
    assert count(engine)["image"] == 150


def test_a_site_from_which_it_was_removed_starts_without_it(typed: Type, engine: Engine) -> None:
    """Between the removal and the first article of one's own a restart brings nothing back; a site
    that never had it gets it, and who loads it again has it."""
    settings = load_settings()
    assert load_demo_once(settings).startswith("demo: 150 articles, ")
    typed("demo", "remove")

    assert load_demo_once(settings).startswith("demo: it was removed from this site")
    assert count(engine)["article"] == 0
    assert typed("demo", "load").output.startswith("demo: 150 articles, ")
