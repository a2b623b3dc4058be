"""A reader's marks over HTTP: set, taken back, asked for and listed."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from sqlalchemy.exc import OperationalError

from tests.lab.newsroom import SECOND_MS
from tests.unit.gateway.doors import READER_ID, Door
from tidings.reading.behaviour import fold
from tidings.store.keys import BEHAVIOUR_WAITING


def change(door: Door, method: str, path: str, reader_id: int = READER_ID) -> Any:
    door.clock.advance(1)
    return door.client.simulate_request(
        method, path, headers={"X-Reader": door.signer.sign(reader_id)}
    )


def put(door: Door, path: str) -> None:
    assert change(door, "PUT", path).status_code == 204


def delete(door: Door, path: str) -> None:
    assert change(door, "DELETE", path).status_code == 204


def fold_all(door: Door) -> None:
    while fold(door.newsroom.engine, door.redis, consumer="test"):
        pass


def mine(door: Door, article_id: int) -> dict[str, bool]:
    answer = door.get(f"/articles/{article_id}/mine")
    assert answer.headers["Cache-Control"] == "private, no-store"
    return {name: value for name, value in answer.json.items() if name != "track"}


@pytest.mark.parametrize(
    ("name", "said"), [("liking", "liked"), ("collect", "collected"), ("dislike", "disliked")]
)
def test_a_mark_is_known_at_once_and_for_good(door: Door, name: str, said: str) -> None:
    """Before it is in SQL and after it; and so is its undoing."""
    article_id = door.newsroom.article()
    nothing = {"liked": False, "collected": False, "disliked": False}

    put(door, f"/articles/{article_id}/{name}")
    assert mine(door, article_id) == nothing | {said: True}
    fold_all(door)
    assert mine(door, article_id) == nothing | {said: True}
    door.redis.flushall()
    assert mine(door, article_id) == nothing | {said: True}

    delete(door, f"/articles/{article_id}/{name}")
    assert mine(door, article_id) == nothing
    fold_all(door)
    door.redis.flushall()
    assert mine(door, article_id) == nothing


def test_a_mark_and_the_token_of_a_feed_are_one_act(door: Door) -> None:
    """Pressed on the card and again on the article: one liking, and one to take back."""
    article_id = door.newsroom.article()
    door.recommends([article_id])
    track = door.get("/articles").json["results"][0]["track"]
    door.report([{"track": track["liking"]}])
    put(door, f"/articles/{article_id}/liking")
    fold_all(door)
    assert door.newsroom.counts(article_id)["liking"] == 1

    assert door.report([{"track": track["liking"], "undone": True}]).status_code == 202
    assert mine(door, article_id)["liked"] is False
    fold_all(door)
    assert door.newsroom.counts(article_id)["liking"] == 0


def test_a_visit_from_no_feed_is_reported_by_tokens_of_its_own(door: Door) -> None:
    """The batch `direct`, of stamp 0: it counts once, and has no exposure."""
    article_id = door.newsroom.article()
    for _ in range(2):
        track = door.get(f"/articles/{article_id}/mine").json["track"]
        door.clock.advance(SECOND_MS)
        answer = door.report([{"track": track["click"]}, {"track": track["liking"]}])
        assert {result["verdict"] for result in answer.json["results"]} == {"accepted"}
    fold_all(door)

    assert set(track) == {"click", "collect", "read", "liking", "dislike"}
    counts = door.newsroom.counts(article_id)
    assert (counts["click"], counts["liking"], counts["exposure"]) == (1, 1, 0)
    assert mine(door, article_id)["liked"] is True


@pytest.mark.parametrize("path", ["/reader/likings", "/reader/collections"])
def test_lists_page_to_their_end_without_gap_or_repetition(door: Door, path: str) -> None:
    """In the one shape of lists, newest first, while something is marked meanwhile."""
    ids = door.newsroom.articles(7)
    name = {"/reader/likings": "liking", "/reader/collections": "collect"}[path]
    for article_id in ids:
        put(door, f"/articles/{article_id}/{name}")
    fold_all(door)
    door.newsroom.change(ids[2], status="taken_down")
    door.redis.flushall()

    found: list[int] = []
    after = ""
    while True:
        answer = door.get(f"{path}?limit=3{after}")
        assert answer.headers["Cache-Control"] == "private, no-store"
        found += [card["article_id"] for card in answer.json["results"]]
        if answer.json["next"] is None:
            break
        after = f"&after={answer.json['next']}"
        put(door, f"/articles/{door.newsroom.article()}/{name}")
        fold_all(door)

    assert found == [article_id for article_id in reversed(ids) if article_id != ids[2]]
    assert all({"title", "marked_at"} <= set(card) for card in answer.json["results"])


def test_what_is_hidden_is_listed_with_its_kind_and_its_name(door: Door) -> None:
    """Articles, authors and channels, each of which can be shown again from there; also an article
    that was taken down since."""
    door.newsroom.authors(3)
    article_id, gone = door.newsroom.articles(2)
    title = door.get(f"/articles/{article_id}").json["title"]
    paths = [
        f"/articles/{article_id}/dislike",
        f"/articles/{gone}/dislike",
        "/authors/3/dislike",
        "/channels/1/dislike",
    ]
    for path in paths:
        put(door, path)
    fold_all(door)
    door.newsroom.change(gone, status="taken_down")
    door.redis.flushall()

    listed = door.get("/reader/hidden").json
    assert [(thing["kind"], thing["id"], thing["name"]) for thing in listed["results"]] == [
        ("channel", 1, "Channel 1"),
        ("author", 3, "Author 3"),
        ("article", gone, None),
        ("article", article_id, title),
    ]
    assert listed["next"] is None
    for path in paths:
        delete(door, path)
    fold_all(door)
    assert door.get("/reader/hidden").json == {"results": [], "next": None}


@pytest.mark.parametrize(
    "path",
    [
        "/articles/999/liking",
        "/articles/999/collect",
        "/articles/999/dislike",
        "/authors/999/dislike",
        "/channels/999/dislike",
        "/channels/0/dislike",
    ],
)
def test_what_a_reader_cannot_see_they_cannot_mark(door: Door, path: str) -> None:
    answer = change(door, "PUT", path)

    assert answer.status_code in (404, 422)
    assert door.redis.get(BEHAVIOUR_WAITING.of()) is None


def test_an_article_that_was_taken_down_is_marked_by_none_and_asked_for_by_none(
    door: Door,
) -> None:
    article_id = door.newsroom.article(status="taken_down")

    assert change(door, "PUT", f"/articles/{article_id}/liking").status_code == 404
    assert door.get(f"/articles/{article_id}/mine").status_code == 404


def test_a_database_that_is_away_refuses_no_mark(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is durable in Redis, and in SQL once that is back."""
    article_id = door.newsroom.article()

    def fail(*_: object, **__: object) -> Any:
        raise OperationalError("SELECT", {}, Exception("gone away"))

    with monkeypatch.context() as patch:
        patch.setattr(type(door.newsroom.engine), "connect", fail)
        put(door, f"/articles/{article_id}/liking")
        put(door, "/authors/12345/dislike")
    fold_all(door)

    assert door.newsroom.counts(article_id)["liking"] == 1


def test_a_cursor_that_was_altered_or_is_anothers_is_refused(
    door: Door, redis_client: Redis
) -> None:
    """Of another reader, of another list, with a character changed, or none at all."""
    for article_id in door.newsroom.articles(3):
        put(door, f"/articles/{article_id}/liking")
    fold_all(door)
    word = door.get("/reader/likings?limit=1").json["next"]
    altered = word[:-1] + ("A" if word[-1] != "A" else "B")

    assert door.get(f"/reader/likings?limit=1&after={word}").status_code == 200
    for path in (
        f"/reader/likings?after={altered}",
        f"/reader/collections?after={word}",
        "/reader/likings?after=x",
        f"/reader/likings?after={'A' * 65}",
        f"/reader/likings?after={word}&after={word}",
    ):
        assert door.get(path).status_code == 422, path
    other = door.client.simulate_get(
        f"/reader/likings?after={word}", headers={"X-Reader": door.signer.sign(READER_ID + 1)}
    )
    assert other.status_code == 422
