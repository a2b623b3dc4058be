"""What editors and authors do with articles, on both databases: what is stored, what readers see of
it, and what is written down about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from jobs.errands import Errand
from jobs.handlers import make_handlers
from tests.integration.editing.conftest import Desk, story
from tests.lab.newsroom import HOUR_MS, Newsroom
from tidings.editing import articles
from tidings.editing.fields import FieldError, Fields, write
from tidings.editing.records import find_articles
from tidings.importing import import_rows
from tidings.news.articles import ArticleNotFoundError
from tidings.news.listing import ListPage
from tidings.news.removal import DELETE_ARTICLE
from tidings.news.tables import article, cover_due, image
from tidings.process.clock import now_ms
from tidings.reading.tables import behaviour
from tidings.store.delayed import DelayedJob
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now, transaction

LATER = datetime(2040, 1, 1, tzinfo=UTC)


def run_due(desk: Desk, kind: str) -> None:
    """What the daemon does with the jobs of a kind, as if their hour had come."""
    with transaction(desk.engine) as conn:
        rows = conn.execute(select(delayed_job).where(delayed_job.c.kind == kind)).all()
        due = [DelayedJob(row.id, row.kind, row.ref, row.run_at, row.attempts, {}) for row in rows]
        handler = make_handlers(desk.articles, lambda _: None)[kind]
        assert not isinstance(handler, Errand)
        later = handler(conn, due, LATER)
        done = [job.id for job in due if job.id not in later]
        conn.execute(delayed_job.delete().where(delayed_job.c.id.in_(done)))


def test_a_draft_is_reviewed_returned_mended_and_published(desk: Desk, newsroom: Newsroom) -> None:
    """No reader sees it before; each step is in the log with the one who took it."""
    made = desk.do("ottoline", articles.create, story())
    assert (made.status, made.body) == ("draft", "<p>The <em>harbour</em> is full.</p>")
    id_ = made.article_id
    desk.do("ottoline", articles.submit, id_)
    returned = desk.do("edith", articles.send_back, id_, "Which harbour?")
    assert (returned.status, returned.note) == ("draft", "Which harbour?")
    desk.do("ottoline", articles.edit, id_, Fields(title="High tide in Varnmouth"))
    desk.do("ottoline", articles.submit, id_)
    assert not desk.is_read(id_)

    desk.do("edith", articles.publish, id_)

    assert desk.is_read(id_)
    assert desk.articles.whole(id_).title == "High tide in Varnmouth"
    assert desk.articles.latest(1, 5) == [id_]
    steps = [(entry.actor, entry.verb) for entry in desk.log(nouns={"article"}, noun_id=id_)]
    assert steps == [
        ("key:ottoline", "create"),
        ("key:ottoline", "submit"),
        ("key:edith", "return"),
        ("key:ottoline", "edit"),
        ("key:ottoline", "submit"),
        ("key:edith", "publish"),
    ]
    changed = desk.log(verb="edit")[0]
    assert changed.before == {"title": "High tide"}
    assert changed.after == {"title": "High tide in Varnmouth"}


def test_a_draft_appears_at_the_moment_of_its_publication(desk: Desk, newsroom: Newsroom) -> None:
    """And not at the one when it was begun, where a feed would have it far below."""
    id_ = desk.do("edith", articles.create, story()).article_id
    with transaction(desk.engine) as conn:
        conn.execute(update(article).values(published_at=datetime(2020, 1, 1, tzinfo=UTC)))

    desk.do("edith", articles.publish, id_)

    assert desk.articles.whole(id_).published_at > now_ms() - HOUR_MS


def test_an_hour_that_comes_is_in_the_log_of_the_job(desk: Desk, newsroom: Newsroom) -> None:
    id_ = desk.do("edith", articles.create, story()).article_id
    assert desk.do("edith", articles.schedule, id_, LATER).status == "scheduled"

    run_due(desk, "publish_article")

    assert desk.read(id_).status == "published"
    last = desk.log()[-1]
    assert (last.actor, last.verb, last.noun_id) == ("job:publish_article", "publish", id_)


def test_the_preview_is_what_will_be_stored(desk: Desk, newsroom: Newsroom) -> None:
    """Scripts and foreign styles are gone from both; the summary is the first sentences."""
    fields = story(body="Full.<script>alert(1)</script>\n\n<p style='color:red'>Red.</p>")
    with desk.engine.connect() as conn:
        shown = write(conn, fields)

    record = desk.do("edith", articles.create, fields)

    assert shown.body == record.body == "<p>Full.</p>\n<p>Red.</p>"
    assert shown.summary == record.summary == "Full. Red."


def test_a_change_leaves_what_it_does_not_name(desk: Desk, newsroom: Newsroom) -> None:
    """A summary that was made from the body follows it; one that was written stays."""
    made = desk.do("edith", articles.create, story(author="Ada Quill", language="en"))
    id_ = made.article_id
    changed = desk.do("edith", articles.edit, id_, Fields(body="Ebb."))
    assert changed == made._replace(
        body="<p>Ebb.</p>",
        markdown="Ebb.",
        summary="Ebb.",
        updated_at=changed.updated_at,
        edited_at=changed.edited_at,
    )

    desk.do("edith", articles.edit, id_, Fields(summary="The sea."))
    html = desk.do("edith", articles.edit, id_, Fields(body_html="<p>Flood.</p>", author=None))

    assert (html.body, html.markdown, html.summary) == ("<p>Flood.</p>", None, "The sea.")
    assert (html.author, html.language) == (None, "en")
    assert desk.do("edith", articles.edit, id_, Fields(summary=None)).summary == "Flood."


def test_readers_see_a_change_at_once(desk: Desk, newsroom: Newsroom) -> None:
    id_ = newsroom.article(title="Old")
    assert desk.articles.whole(id_).title == "Old"

    desk.do("edith", articles.edit, id_, Fields(title="New", channel_id=2))

    assert desk.articles.whole(id_).title == "New"
    assert desk.articles.cards([id_])[id_].channel_id == 2


def test_what_an_editor_changed_its_source_changes_no_more(desk: Desk, newsroom: Newsroom) -> None:
    row = {"id": "a", "title": "Theirs", "body": "Text.", "channel": "Channel 1"}
    assert import_rows([row], desk.engine).counts.created == 1
    (id_,) = desk.articles.latest(1, 1) or desk.articles.latest(0, 1)
    desk.do("edith", articles.edit, id_, Fields(title="Ours"))

    counts = import_rows([row | {"title": "Theirs again"}], desk.engine).counts

    assert (counts.updated, counts.unchanged) == (0, 1)
    assert desk.read(id_).title == "Ours"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 513}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": "x" * 2_000_000}, "title"),
        ({"body": ""}, "body"),
        ({"body": "<script>alert(1)</script>"}, "body"),
        ({"body": "x" * 600_000}, "body"),
        ({"body_html": "<p>Both.</p>"}, "body_html"),
        ({"cover": "ftp://example.org/a.png"}, "cover"),
        ({"cover": "/images/" + "0" * 64}, "cover"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"language": "english please"}, "language"),
        ({"author": "x" * 200}, "author"),
        ({"channel_id": 99}, "channel_id"),
    ],
)
def test_a_field_that_cannot_be_stored_is_named_and_nothing_is(
    desk: Desk, newsroom: Newsroom, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(FieldError) as refused:
        desk.do("edith", articles.create, story(**fields))

    assert refused.value.field == field
    assert desk.log() == []


def test_a_picture_that_is_kept_here_can_be_a_cover(desk: Desk, newsroom: Newsroom) -> None:
    """An address has still to be fetched, by a row of the same transaction."""
    kept = "ab" * 32
    with transaction(desk.engine) as conn:
        values = {"type": "image/webp", "width": 800, "height": 600, "size": 9, "added_by": "x"}
        conn.execute(insert(image).values(digest=kept, added_at=database_now(conn), **values))
    made = desk.do("edith", articles.create, story(cover="https://example.org/a.png"))
    id_ = made.article_id
    with desk.engine.connect() as conn:
        assert list(conn.scalars(select(cover_due.c.article_id))) == [id_]

    changed = desk.do("edith", articles.edit, id_, Fields(cover=f"/images/{kept}"))

    assert (made.image, changed.image) == (None, kept)
    with desk.engine.connect() as conn:
        assert list(conn.scalars(select(cover_due.c.article_id))) == []
    assert desk.do("edith", articles.edit, id_, Fields(cover=None)).image is None


class TestADeletedArticle:
    """One that an import brought, and that a reader has read."""

    ROW = {"id": "a", "title": "Theirs", "body": "Text.", "channel": "Channel 1"}

    @pytest.fixture
    def gone(self, desk: Desk, newsroom: Newsroom) -> int:
        import_rows([self.ROW], desk.engine)
        with transaction(desk.engine) as conn:
            id_ = conn.scalar(select(article.c.id))
            assert id_ is not None
            act = {"reader_id": 7, "channel_id": 1, "action": "click", "position": 0}
            at = {"batch_stamp": 1, "at": database_now(conn)}
            conn.execute(insert(behaviour).values(event_id=b"1" * 16, article_id=id_, **act, **at))
        assert desk.is_read(id_)
        desk.do("edith", articles.delete, id_)
        return int(id_)

    def test_it_is_gone_at_once_for_readers_and_editors(self, desk: Desk, gone: int) -> None:
        assert not desk.is_read(gone)
        assert desk.articles.latest(1, 5) == []
        with desk.engine.connect() as conn:
            assert find_articles(conn, desk.actor("edith"), limit=5) == ListPage([], None)
        for verb in (articles.restore, articles.publish, articles.delete):
            with pytest.raises(ArticleNotFoundError):
                desk.do("edith", verb, gone)

    def test_its_source_does_not_bring_it_back(self, desk: Desk, gone: int) -> None:
        """Before its row is gone, and after."""
        for _ in range(2):
            counts = import_rows([self.ROW | {"title": "Back"}], desk.engine).counts
            assert (counts.created, counts.updated) == (0, 0)
            run_due(desk, DELETE_ARTICLE)
        with desk.engine.connect() as conn:
            assert list(conn.scalars(select(article.c.id))) == []

    def test_the_books_keep_what_readers_did_and_the_log_what_it_said(
        self, desk: Desk, newsroom: Newsroom, gone: int
    ) -> None:
        run_due(desk, DELETE_ARTICLE)

        assert [row.article_id for row in newsroom.behaviours()] == [gone]
        (entry,) = desk.log(verb="delete")
        assert (entry.before or {})["title"] == "Theirs"
        assert entry.after is None

    def test_no_later_article_gets_its_number(self, desk: Desk, gone: int) -> None:
        """Trap: SQLite numbers from the highest row that is there, and what readers did with the
        old one would be told of the new one."""
        run_due(desk, DELETE_ARTICLE)
        with desk.engine.connect() as conn:
            assert conn.execute(select(delayed_job)).all() == []

        newer = desk.do("edith", articles.create, story()).article_id
        desk.do("edith", articles.delete, newer)
        run_due(desk, DELETE_ARTICLE)
        import_rows([self.ROW | {"id": "other"}], desk.engine)

        assert newer > gone
        with desk.engine.connect() as conn:
            assert conn.scalars(select(article.c.id)).one() > newer


def test_articles_are_found_by_each_of_what_they_are(desk: Desk, newsroom: Newsroom) -> None:
    newsroom.authors(5)
    plain = newsroom.article(published_ms=now_ms() - 9 * HOUR_MS)
    by_five = newsroom.article(author_id=5, channel_id=2, title="100% of Tides_")
    draft = desk.do("ottoline", articles.create, story()).article_id

    def found(**which: Any) -> list[int]:
        with desk.engine.connect() as conn:
            lines = find_articles(conn, desk.actor("edith"), limit=10, **which).lines
        return [line.article_id for line in lines]

    assert found() == [draft, by_five, plain]
    assert found(status="draft") == [draft]
    assert found(channel_id=2) == found(by="Author 5") == [by_five]
    assert found(origin_id=desk.read(draft).origin_id) == [draft]
    assert found(text="high TIDE") == [draft]
    assert found(text="100% of tides_") == [by_five]
    assert found(text="100_") == []


def test_pages_of_a_list_have_each_article_once(desk: Desk, newsroom: Newsroom) -> None:
    """Also those of one moment, and one whose moment is none."""
    ids = newsroom.articles(3) + newsroom.articles(4, apart_ms=0)
    with newsroom.engine.begin() as conn:
        if newsroom.engine.dialect.name != "sqlite":
            conn.exec_driver_sql("SET sql_mode=''")
        bad = "0000-00-00 00:00:00"
        conn.exec_driver_sql(
            f"UPDATE article SET published_at = '{bad}' WHERE id IN ({ids[0]}, {ids[1]})"
        )
    seen: list[int] = []
    page = ListPage([], None)
    for _ in ids:
        with desk.engine.connect() as conn:
            page = find_articles(conn, desk.actor("edith"), limit=1, after=page.next)
        seen += [line.article_id for line in page.lines]

    assert sorted(seen) == sorted(ids)
    assert page.next is None
