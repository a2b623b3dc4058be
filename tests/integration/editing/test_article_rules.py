"""Who may do what with an article, when, and how often, on both databases: roles, owners, statuses,
versions that were not seen, and requests that are sent again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, select

from tests.integration.editing.conftest import Desk, story
from tests.lab.newsroom import Newsroom
from tidings.editing import articles
from tidings.editing.acting import Act, NotAllowedError, StaleRecordError
from tidings.editing.articles import OtherArticleError, StatusError
from tidings.editing.fields import Fields
from tidings.editing.records import digest, find_articles, read_article
from tidings.news.tables import article
from tidings.store.delayed_tables import delayed_job

LATER = datetime(2040, 1, 1, tzinfo=UTC)
EDITORS_VERBS: dict[str, Callable[[Act, int], object]] = {
    "return": lambda act, id_: articles.send_back(act, id_, ""),
    "publish": articles.publish,
    "schedule": lambda act, id_: articles.schedule(act, id_, LATER),
    "take_down": articles.take_down,
    "restore": articles.restore,
    "delete": articles.delete,
}


@pytest.mark.parametrize("verb", EDITORS_VERBS)
def test_what_is_an_editors_is_refused_to_an_author(
    desk: Desk, newsroom: Newsroom, verb: str
) -> None:
    """Of their own article as well."""
    id_ = desk.do("ottoline", articles.create, story()).article_id
    before = desk.read(id_)

    with pytest.raises(NotAllowedError):
        desk.do("ottoline", EDITORS_VERBS[verb], id_)

    assert desk.read(id_) == before


def test_an_author_reads_and_changes_only_their_own(desk: Desk, newsroom: Newsroom) -> None:
    own = desk.do("ottoline", articles.create, story()).article_id
    other = newsroom.article()

    def listed(who: str, **which: Any) -> list[int]:
        with desk.engine.connect() as conn:
            found = find_articles(conn, desk.actor(who), limit=10, **which)
        return [line.article_id for line in found.lines]

    assert listed("ottoline") == [own]
    assert listed("basil") == listed("ottoline", origin_id=1) == []
    assert listed("edith") == [own, other]
    for who, id_ in (("basil", own), ("ottoline", other)):
        for verb, args in ((articles.edit, [Fields(title="Mine")]), (articles.submit, [])):
            with pytest.raises(NotAllowedError):
                desk.do(who, verb, id_, *args)
        with desk.engine.connect() as conn, pytest.raises(NotAllowedError):
            read_article(conn, desk.actor(who), id_)


@pytest.mark.parametrize("status", ["published", "scheduled", "taken_down"])
def test_an_author_changes_nothing_that_was_out(
    desk: Desk, newsroom: Newsroom, status: str
) -> None:
    id_ = desk.do("ottoline", articles.create, story()).article_id
    newsroom.change(id_, status=status)

    with pytest.raises(NotAllowedError):
        desk.do("ottoline", articles.edit, id_, Fields(title="Different"))


@pytest.mark.parametrize(
    ("status", "verb"),
    [
        ("in_review", articles.submit),
        ("published", articles.submit),
        ("published", articles.restore),
        ("draft", articles.restore),
        ("draft", articles.take_down),
        ("in_review", articles.take_down),
        ("draft", EDITORS_VERBS["return"]),
    ],
)
def test_a_verb_that_does_not_fit_the_status_is_refused(
    desk: Desk, newsroom: Newsroom, status: str, verb: Callable[[Act, int], object]
) -> None:
    id_ = newsroom.article(status=status)

    with pytest.raises(StatusError):
        desk.do("edith", verb, id_)

    assert (desk.read(id_).status, desk.log()) == (status, [])


def test_one_who_has_not_seen_a_change_does_not_undo_it(desk: Desk, newsroom: Newsroom) -> None:
    """What readers count is no change."""
    id_ = newsroom.article()
    seen = {digest(desk.read(id_))}
    changed = desk.do("edith", articles.edit, id_, Fields(title="First"), seen=seen)

    for verb, args in ((articles.edit, [Fields(title="Second")]), (articles.publish, [])):
        with pytest.raises(StaleRecordError):
            desk.do("opal", verb, id_, *args, seen=seen)

    assert desk.read(id_).title == "First"
    desk.do("opal", articles.edit, id_, Fields(title="Second"), seen={digest(changed), "other"})
    assert desk.read(id_).title == "Second"


def test_of_two_editors_at_once_one_is_told_of_the_other(desk: Desk, newsroom: Newsroom) -> None:
    """Each has read the same version, and each changes it a few times in a row."""
    id_ = newsroom.article()
    together = threading.Barrier(2)

    def change(who: str) -> list[str]:
        told = []
        for number in range(5):
            seen = {digest(desk.read(id_))}
            together.wait(30)
            try:
                desk.do(who, articles.edit, id_, Fields(title=f"{who} {number}"), seen=seen)
                told.append("done")
            except StaleRecordError:
                told.append("stale")
            together.wait(30)
        return told

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(change, ["edith", "opal"])

    assert [set(pair) for pair in zip(first, second, strict=True)] == [{"done", "stale"}] * 5
    assert len(desk.log(verb="edit")) == 5


@pytest.mark.parametrize("verb", ["create", "edit", "publish", "take_down", "delete"])
def test_what_the_log_cannot_hold_does_not_happen(
    desk: Desk, newsroom: Newsroom, verb: str
) -> None:
    """Neither in the database nor for readers."""
    id_ = newsroom.article(status="scheduled" if verb == "publish" else "published")
    desk.is_read(id_)
    before = desk.read(id_)
    acts: dict[str, tuple[Callable[..., object], tuple[Any, ...]]] = {
        "create": (articles.create, (story(),)),
        "edit": (articles.edit, (id_, Fields(title="New"))),
        "publish": (articles.publish, (id_,)),
        "take_down": (articles.take_down, (id_,)),
        "delete": (articles.delete, (id_,)),
    }

    def fail(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO audit"):
            raise OSError("the disk is full")

    event.listen(desk.engine, "before_cursor_execute", fail)
    act, args = acts[verb]
    with pytest.raises(OSError, match="the disk is full"):
        desk.do("edith", act, *args)
    event.remove(desk.engine, "before_cursor_execute", fail)

    assert desk.read(id_) == before
    assert desk.is_read(id_) == (before.status == "published")
    with desk.engine.connect() as conn:
        assert list(conn.scalars(select(article.c.id))) == [id_]
        assert conn.execute(select(delayed_job)).all() == []


def test_a_request_that_is_sent_again_creates_nothing_more(desk: Desk, newsroom: Newsroom) -> None:
    """The key is its sender's alone; with other fields it is refused."""
    made = desk.do("ottoline", articles.create, story(), key="k")

    assert desk.do("ottoline", articles.create, story(), key="k") == made
    assert desk.do("basil", articles.create, story(), key="k").article_id != made.article_id
    with pytest.raises(OtherArticleError):
        desk.do("ottoline", articles.create, story(title="Other"), key="k")
    assert len(desk.log(verb="create")) == 2


def test_two_such_requests_at_once_are_one_article(desk: Desk, newsroom: Newsroom) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(lambda _: desk.do("ottoline", articles.create, story(), key="k"), range(4))
        )

    assert len({record.article_id for record in made}) == 1
