"""Conversations over HTTP: who starts, sees, renames and leaves them, and what is told of them."""

from __future__ import annotations

import json

import pytest

from tests.lab.chat_rest import ChatRest, Reader
from tests.unit.gateway.test_bad_input import problem
from tidings.talk.members import DESK_ID


def test_two_readers_have_one_conversation_however_often_it_is_started(
    ann: Reader, ben: Reader
) -> None:
    first = ann.ask("POST", "/conversations", {"kind": "direct", "reader_id": ben.reader_id})

    assert first.status_code == 201
    shown = first.json
    assert (shown["kind"], shown["other_id"]) == ("direct", ben.reader_id)
    assert (shown["title"], shown["members"], shown["last"]) == ("", 2, None)
    assert ann.start_direct(ben) == ben.start_direct(ann) == shown["conversation_id"]


def test_a_conversation_is_listed_for_both_once_something_was_written(
    ann: Reader, ben: Reader
) -> None:
    id_ = ann.start_direct(ben)
    assert ann.get("/conversations") == ben.get("/conversations") == {"results": [], "next": None}

    ann.send(id_, "hello")

    (mine,), (theirs,) = ann.get("/conversations")["results"], ben.get("/conversations")["results"]
    assert (mine["unread"], theirs["unread"]) == (0, 1)
    assert (mine["other_id"], theirs["other_id"]) == (ben.reader_id, ann.reader_id)
    assert mine["last"]["body"] == theirs["last"]["body"] == "hello"
    assert theirs["changed_at"] == theirs["last"]["at"] > 1_700_000_000_000
    assert ben.get(f"/conversations/{id_}") == theirs


def test_a_group_belongs_to_the_one_who_starts_it(ann: Reader, ben: Reader, cleo: Reader) -> None:
    id_ = ann.start_group(ben, cleo)

    assert ann.get(f"/conversations/{id_}")["role"] == "owner"
    assert ben.get(f"/conversations/{id_}")["role"] == "member"
    assert {(one["title"], one["members"]) for one in cleo.get("/conversations")["results"]} == {
        ("Friday", 3)
    }


def test_the_owner_alone_renames_a_group(ann: Reader, ben: Reader) -> None:
    id_ = ann.start_group(ben)

    renamed = ann.ask("PATCH", f"/conversations/{id_}", {"title": " Saturday "})
    refused = ben.ask("PATCH", f"/conversations/{id_}", {"title": "Mine"})

    assert (renamed.status_code, renamed.json["title"]) == (200, "Saturday")
    problem(refused, 403, "not-yours")
    assert ben.get(f"/conversations/{id_}")["title"] == "Saturday"


def test_a_conversation_between_two_has_no_title(ann: Reader, ben: Reader) -> None:
    id_ = ann.start_direct(ben)

    problem(ann.ask("PATCH", f"/conversations/{id_}", {"title": "Us"}), 422, "invalid-request")


def test_who_leaves_a_group_knows_nothing_of_it_any_more(
    ann: Reader, ben: Reader, cleo: Reader
) -> None:
    id_ = ben.start_group(ann, cleo)
    ben.send(id_, "secret")

    assert ann.ask("DELETE", f"/conversations/{id_}").status_code == 204

    problem(ann.ask("GET", f"/conversations/{id_}"), 404, "unknown-conversation")
    problem(ann.ask("GET", f"/conversations/{id_}/messages"), 404, "unknown-conversation")
    assert cleo.get(f"/conversations/{id_}")["members"] == 2


def test_a_conversation_that_was_emptied_comes_back_with_the_next_message(
    ann: Reader, ben: Reader
) -> None:
    id_ = ann.start_direct(ben)
    ben.send(id_, "old")

    ann.ask("DELETE", f"/conversations/{id_}")
    assert ann.get("/conversations")["results"] == []
    ben.send(id_, "new")

    (shown,) = ann.get("/conversations")["results"]
    assert (shown["last"]["body"], shown["unread"]) == ("new", 1)
    (message,) = ann.get(f"/conversations/{id_}/messages")["results"]
    assert message["body"] == "new"
    assert len(ben.get(f"/conversations/{id_}/messages")["results"]) == 2


def test_each_reader_has_one_conversation_with_the_desk(ann: Reader, ben: Reader) -> None:
    mine, again = ann.start(kind="desk"), ann.start(kind="desk")

    assert mine == again != ben.start(kind="desk")
    assert ann.get(f"/conversations/{mine}")["other_id"] == DESK_ID


def test_what_is_muted_is_left_out_of_the_badge_and_counted_in_the_list(
    ann: Reader, ben: Reader
) -> None:
    id_ = ann.start_direct(ben)
    ben.send(id_, "one")
    ben.send(id_, "two")
    unread = ann.get("/conversations/unread")
    assert (unread["conversations"], unread["messages"]) == (1, 2)

    assert ann.ask("PUT", f"/conversations/{id_}/mute").status_code == 204

    muted = ann.get("/conversations/unread")
    assert (muted["conversations"], muted["messages"]) == (0, 0)
    (listed,) = ann.get("/conversations")["results"]
    assert (listed["muted"], listed["unread"]) == (True, 2)
    ann.ask("DELETE", f"/conversations/{id_}/mute")
    assert ann.get("/conversations/unread") == unread


def test_a_mark_of_what_was_read_never_goes_back(ann: Reader, ben: Reader) -> None:
    id_ = ann.start_direct(ben)
    for body in ("one", "two", "three"):
        ben.send(id_, body)

    marks = [
        ann.ask("PUT", f"/conversations/{id_}/read", {"seq": seq}).json["seq"] for seq in (2, 1, 3)
    ]

    assert marks == [2, 2, 3]
    assert ann.get(f"/conversations/{id_}")["unread"] == 0
    future = ann.ask("PUT", f"/conversations/{id_}/read", {"seq": 4})
    problem(future, 404, "unknown-message")


def test_pages_of_a_list_meet_though_conversations_are_added_and_written_in_meanwhile(
    chat: ChatRest, ann: Reader
) -> None:
    """Each conversation comes once: one that is written in meanwhile moves to the top, which the
    client has already."""
    others = [chat.visitor() for _ in range(7)]
    ids = [ann.start_direct(other) for other in others]
    for id_, other in zip(ids, others, strict=True):
        other.send(id_, "hello")

    seen, after, first = [], "", True
    while True:
        page = ann.get("/conversations", params={"limit": 2, "after": after})
        seen += [one["conversation_id"] for one in page["results"]]
        if page["next"] is None:
            break
        after = page["next"]
        if first:  # the newest of all is written in again, and one more appears
            others[-1].send(ids[-1], "again")
            newcomer = chat.visitor()
            newcomer.send(newcomer.start_direct(ann), "hello")
            first = False

    assert seen == ids[::-1]


def test_a_cursor_is_good_for_its_reader_and_its_list_alone(
    chat: ChatRest, ann: Reader, ben: Reader
) -> None:
    for _ in range(2):
        other = chat.visitor()
        other.send(other.start_direct(ann), "hello")
    word = ann.get("/conversations", params={"limit": 1})["next"]

    assert ann.ask("GET", "/conversations", params={"after": word}).status_code == 200
    for reader, path, spoiled in (
        (ben, "/conversations", word),
        (ann, "/reader/blocks", word),
        (ann, "/conversations", word[:-1]),
        (ann, "/conversations", "x" * 65),
    ):
        answer = reader.ask("GET", path, params={"after": spoiled})
        problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "direct"},
        {"kind": "channel"},
        {"kind": "direct", "reader_id": "7"},
        {"kind": "direct", "reader_id": 0},
        {"kind": "direct", "reader_id": 2**53},
        {"kind": "direct", "reader_id": 7, "role": "owner"},
        {"kind": "direct", "reader_id": DESK_ID},
        {"kind": "group", "title": "", "reader_ids": []},
        {"kind": "group", "title": "   ", "reader_ids": []},
        {"kind": "group", "title": "x" * 101, "reader_ids": []},
        {"kind": "group", "title": "Friday", "reader_ids": [0]},
        {"kind": "group", "title": "Friday", "reader_ids": list(range(1, 202))},
        {"kind": "group", "title": "Friday"},
        [],
        "direct",
        None,
        7,
    ],
)
def test_a_conversation_that_makes_no_sense_is_not_started(ben: Reader, body: object) -> None:
    headers = {"Content-Type": "application/json"}
    answer = ben.ask("POST", "/conversations", headers=headers, body=json.dumps(body))

    problem(answer, 422, "invalid-request")
    assert ben.get("/conversations")["results"] == []


def test_nobody_starts_a_conversation_with_themselves(ann: Reader) -> None:
    answer = ann.ask("POST", "/conversations", {"kind": "direct", "reader_id": ann.reader_id})

    problem(answer, 422, "invalid-request")


def test_a_reader_starts_so_many_conversations_a_day(
    ann: Reader, ben: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.talk.conversations.MOST_STARTED", 1)
    ann.start_direct(ben)

    answer = ann.ask("POST", "/conversations", {"kind": "group", "title": "a", "reader_ids": []})

    problem(answer, 429, "enough-for-today")
    assert answer.headers["Retry-After"] == "3600"
