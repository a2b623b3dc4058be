"""Articles written, reviewed, published and taken down over HTTP, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text

from tests.integration.gateway.desk import TEXT, Member
from tests.unit.gateway.doors import Door
from tests.unit.gateway.test_bad_input import problem
from tidings.editing.tables import audit
from tidings.news.tables import article
from tidings.process.clock import now_ms
from tidings.readers.keys import Role
from tidings.store.engine import transaction

HOUR_MS = 3_600_000


@pytest.fixture
def door(door: Door) -> Door:
    """A gateway whose clock is the database's, an hour behind which nothing is out."""
    door.clock.now_ms = now_ms() + HOUR_MS
    return door


@pytest.fixture
def editor(door: Door) -> Member:
    return Member(door, Role.EDITOR)


@pytest.fixture
def author(door: Door) -> Member:
    return Member(door, Role.AUTHOR)


def reads(door: Door, article_id: int) -> Any:
    """What a reader gets: the status, or the article."""
    answer = door.get(f"/articles/{article_id}")
    return answer.json if answer.status_code == 200 else answer.status_code


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each gives, begun together."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        gate.wait(30)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_an_article_goes_from_its_author_by_an_editor_to_readers(
    door: Door, author: Member, editor: Member
) -> None:
    article_id = author.create()["article_id"]
    assert reads(door, article_id) == 404

    assert author.do(article_id, "submission").json["status"] == "in_review"
    returned = editor.do(article_id, "review", {"decision": "return", "note": "Which one?"})
    assert (returned.json["status"], returned.json["note"]) == ("draft", "Which one?")
    author.change(article_id, body="The harbour of *Rye* is full.")
    author.do(article_id, "submission")
    editor.do(article_id, "review", {"decision": "publish"})

    shown = reads(door, article_id)
    assert shown["body"] == "<p>The harbour of <em>Rye</em> is full.</p>"
    problem(author.change(article_id, title="Low tide"), 403, "not-allowed")
    assert editor.change(article_id, title="Low tide").status_code == 200
    assert reads(door, article_id)["title"] == "Low tide"


def test_what_was_not_submitted_is_not_reviewed(author: Member, editor: Member) -> None:
    article_id = author.create()["article_id"]

    for decision in ("publish", "return"):
        answer = editor.do(article_id, "review", {"decision": decision})
        problem(answer, 409, "wrong-status")
    problem(editor.do(article_id, "review", {"decision": "burn"}), 422, "invalid-request")


def test_an_author_sees_and_writes_only_their_own(
    door: Door, author: Member, editor: Member
) -> None:
    other = Member(door, Role.AUTHOR, "other")
    mine, theirs = author.create()["article_id"], other.create()["article_id"]
    door.newsroom.article(title="Of a file")

    assert [line["article_id"] for line in author.get("/operator/articles")["results"]] == [mine]
    assert len(editor.get("/operator/articles")["results"]) == 3
    problem(author.send("GET", f"/operator/articles/{theirs}"), 403, "not-allowed")
    problem(author.change(theirs, title="Mine"), 403, "not-allowed")
    problem(author.do(theirs, "submission"), 403, "not-allowed")
    assert editor.get(f"/operator/articles/{theirs}")["title"] == TEXT["title"]


def test_an_author_publishes_nothing(author: Member) -> None:
    wanted = TEXT | {"publish": True}

    answer = author.send("POST", "/articles", wanted, Idempotency_Key="k")

    problem(answer, 403, "not-allowed")
    assert author.get("/operator/articles")["results"] == []


def test_an_editor_publishes_at_once(door: Door, editor: Member) -> None:
    made = editor.create(publish=True)

    assert made["status"] == "published"
    assert reads(door, made["article_id"])["title"] == TEXT["title"]


def test_one_key_makes_one_article(door: Door, editor: Member) -> None:
    first = editor.create("k", publish=True)
    editor.do(first["article_id"], "take-down")

    again = editor.create("k", publish=True)

    assert (again["article_id"], again["status"]) == (first["article_id"], "taken_down")
    answer = editor.send("POST", "/articles", TEXT | {"title": "Other"}, Idempotency_Key="k")
    problem(answer, 422, "idempotency-conflict")
    for missing in (None, "a b", "x" * 129):
        answer = editor.send("POST", "/articles", TEXT, Idempotency_Key=missing)
        problem(answer, 400, "idempotency-key-needed")
    assert Member(door, Role.EDITOR, "other").create("k")["article_id"] != first["article_id"]


def test_a_request_that_comes_twice_at_once_makes_one_article(door: Door, editor: Member) -> None:
    made = at_once(*[lambda: editor.create("k")["article_id"]] * 4)

    assert len(set(made)) == 1
    with door.newsroom.engine.connect() as conn:
        assert conn.scalar(select(func.count()).select_from(article)) == 1


def test_of_two_editors_at_once_one_is_told_to_read_again(door: Door, editor: Member) -> None:
    article_id = editor.create()["article_id"]
    other, seen = Member(door, Role.EDITOR, "other"), editor.tag(article_id)

    answers = at_once(
        lambda: editor.change(article_id, seen, title="The first's"),
        lambda: other.change(article_id, seen, title="The second's"),
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412]
    (won,) = [answer.json["title"] for answer in answers if answer.status_code == 200]
    assert editor.get(f"/operator/articles/{article_id}")["title"] == won


@pytest.mark.parametrize("verb", ["submission", "publication", "take-down", "restoration"])
def test_a_verb_needs_the_version_that_was_seen(editor: Member, verb: str) -> None:
    article_id = editor.create()["article_id"]
    body: Any = {} if verb == "publication" else None
    path, old = f"/articles/{article_id}/{verb}", editor.tag(article_id)
    assert editor.change(article_id, old, title="Newer").headers["ETag"] != old

    problem(editor.send("POST", path, body), 428, "precondition-needed")
    problem(editor.send("POST", path, body, If_Match=old), 412, "stale-record")
    assert editor.get(f"/operator/articles/{article_id}")["status"] == "draft"


def test_what_is_taken_down_is_gone_at_once_and_comes_back(door: Door, editor: Member) -> None:
    article_id = editor.create(publish=True)["article_id"]
    door.recommends([article_id])
    assert len(door.get("/articles").json["results"]) == 1
    assert reads(door, article_id) != 404

    assert editor.do(article_id, "take-down").status_code == 200

    assert reads(door, article_id) == 404
    assert door.get("/articles").json["results"] == []
    problem(editor.do(article_id, "submission"), 409, "wrong-status")
    assert editor.do(article_id, "restoration").json["status"] == "published"
    assert reads(door, article_id)["title"] == TEXT["title"]


def test_a_draft_was_never_out(editor: Member) -> None:
    article_id = editor.create()["article_id"]

    problem(editor.do(article_id, "take-down"), 409, "wrong-status")
    problem(editor.do(article_id, "restoration"), 409, "wrong-status")


def test_what_is_deleted_is_gone_for_editors_too(door: Door, editor: Member) -> None:
    article_id = editor.create("k", publish=True)["article_id"]

    answer = editor.send("DELETE", f"/articles/{article_id}", If_Match="*")

    assert (answer.status_code, answer.content) == (204, b"")
    assert reads(door, article_id) == 404
    problem(editor.send("GET", f"/operator/articles/{article_id}"), 404, "unknown-article")
    assert editor.get("/operator/articles")["results"] == []
    again = editor.send("POST", "/articles", TEXT | {"publish": True}, Idempotency_Key="k")
    problem(again, 404, "unknown-article")


def test_a_moment_to_come_is_waited_for(door: Door, editor: Member) -> None:
    article_id = editor.create()["article_id"]
    later = door.clock() + HOUR_MS

    scheduled = editor.do(article_id, "publication", {"at": later})

    assert (scheduled.json["status"], scheduled.json["published_at"]) == ("scheduled", later)
    assert reads(door, article_id) == 404
    past = editor.do(article_id, "publication", {"at": door.clock() - 1})
    assert problem(past, 422, "invalid-request")["errors"].keys() == {"at"}
    assert editor.do(article_id, "publication", {}).json["status"] == "published"
    assert reads(door, article_id)["title"] == TEXT["title"]


def test_patch_keeps_what_it_does_not_name_and_put_does_not(editor: Member) -> None:
    extra = {"author": "Ada", "url": "https://example.org/tide", "language": "en"}
    article_id = editor.create(**extra)["article_id"]

    patched = editor.change(article_id, author=None).json
    put = editor.send("PUT", f"/articles/{article_id}", TEXT, If_Match="*").json

    assert (patched["author"], patched["url"], patched["language"]) == (
        None, extra["url"], "en"
    )  # fmt: skip
    assert (put["url"], put["language"], put["body"]) == (None, None, TEXT["body"])
    incomplete = editor.send("PUT", f"/articles/{article_id}", {"title": "x"}, If_Match="*")
    assert problem(incomplete, 422, "invalid-request")["errors"].keys() == {"channel_id", "body"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"channel_id": 99}, "channel_id"),
        ({"channel_id": 0}, "channel_id"),
        ({"channel_id": 10**20}, "channel_id"),
        ({"title": ""}, "title"),
        ({"title": "x" * 513}, "title"),
        ({"body_html": "<p>x</p>"}, "body_html"),
        ({"language": "not a language"}, "language"),
        ({"cover": "/images/" + "0" * 64}, "cover"),
        ({"colour": "red"}, "colour"),
        ({"title": 3}, "title"),
    ],
)
def test_a_field_that_cannot_be_stored_is_named(
    editor: Member, fields: dict[str, Any], field: str
) -> None:
    answer = editor.send("POST", "/articles", TEXT | fields, Idempotency_Key="k")

    assert problem(answer, 422, "invalid-request")["errors"].keys() == {field}
    assert editor.get("/operator/articles")["results"] == []


def test_a_preview_is_what_readers_would_see_and_stores_nothing(author: Member) -> None:
    wanted = {"title": "Tide", "body_html": "<p onclick=x>In<script>alert(1)</script></p>"}

    preview = author.send("POST", "/articles/preview", wanted)

    assert preview.status_code == 200
    assert preview.json["body"] == "<p>In</p>"
    assert preview.json["summary"] == "In"
    assert author.get("/operator/articles")["results"] == []


def test_articles_are_found_by_what_is_known_of_them(door: Door, editor: Member) -> None:
    draft = editor.create("1", title="Draft of the tide")["article_id"]
    out = editor.create("2", title="Otters", channel_id=2, author="Ada", publish=True)["article_id"]
    door.newsroom.article(title="Of a file", published_ms=door.clock() - HOUR_MS * 50)

    def found(**query: Any) -> set[int]:
        return {line["article_id"] for line in editor.get("/operator/articles", **query)["results"]}

    assert found(status="draft") == {draft}
    assert found(channel_id=2) == {out}
    assert found(author="Ada") == {out}
    assert found(q="tide") == {draft}
    assert found(source_id=1).isdisjoint({draft, out})
    problem(editor.send("GET", "/operator/articles?status=gone"), 422, "invalid-request")


def test_the_list_goes_on_by_pages_in_its_order(door: Door, editor: Member) -> None:
    ids = door.newsroom.articles(7)

    seen, word = [], ""
    while True:
        page = editor.get("/operator/articles", limit=3, **({"after": word} if word else {}))
        seen += [line["article_id"] for line in page["results"]]
        if page["next"] is None:
            break
        word = page["next"]

    assert seen == ids
    other = Member(door, Role.EDITOR, "other")
    problem(other.send("GET", f"/operator/articles?after={word}"), 422, "invalid-request")


def test_an_act_that_cannot_be_entered_in_the_audit_log_does_not_happen(
    door: Door, editor: Member
) -> None:
    article_id = editor.create(publish=True)["article_id"]
    with transaction(door.newsroom.engine) as conn:
        conn.execute(delete(audit))
        conn.execute(text("ALTER TABLE audit RENAME TO audit_away"))
    try:
        answer = editor.do(article_id, "take-down")

        assert answer.status_code >= 500
        assert reads(door, article_id)["title"] == TEXT["title"]
    finally:
        with transaction(door.newsroom.engine) as conn:
            conn.execute(text("ALTER TABLE audit_away RENAME TO audit"))
    assert editor.do(article_id, "take-down").json["status"] == "taken_down"
