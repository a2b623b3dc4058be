"""Messages over HTTP: read page by page, written once however often they are sent, edited, deleted
and reported."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update

from tests.lab.chat_rest import ChatRest, Reader
from tests.unit.gateway.test_bad_input import problem
from tidings.store.engine import transaction
from tidings.talk.history import EDITABLE
from tidings.talk.reports import find_reports
from tidings.talk.sending import MOST_BODY_BYTES
from tidings.talk.tables import message


@pytest.fixture
def talk(ann: Reader, ben: Reader) -> str:
    """The path of a conversation between ann and ben."""
    return f"/conversations/{ann.start_direct(ben)}"


def bodies(reader: Reader, talk: str, **asked: Any) -> list[str | None]:
    return [one["body"] for one in reader.get(f"{talk}/messages", params=asked)["results"]]


def send(reader: Reader, talk: str, body: str, cid: str = "") -> int:
    return reader.send(int(talk.rpartition("/")[2]), body, cid)


def test_what_is_written_is_read_by_both_and_by_nobody_else(
    ann: Reader, ben: Reader, stranger: Reader, talk: str
) -> None:
    answer = ann.ask("POST", f"{talk}/messages", {"cid": "a1", "body": "hello"})

    stored = answer.json
    assert (answer.status_code, stored["seq"], stored["cid"]) == (201, 1, "a1")
    assert answer.headers["Location"] == f"{talk}/messages?after=0&limit=1"
    (mine,) = ann.get(answer.headers["Location"])["results"]
    (theirs,) = ben.get(f"{talk}/messages")["results"]
    assert mine == {
        "conversation_id": stored["conversation_id"],
        "seq": 1,
        "sender_id": ann.reader_id,
        "cid": "a1",
        "body": "hello",
        "hidden": False,
        "at": stored["at"],
        "edited_at": None,
        "deleted_at": None,
    }
    assert theirs == mine | {"cid": None}
    problem(stranger.ask("GET", f"{talk}/messages"), 404, "unknown-conversation")


def test_a_message_that_is_sent_again_is_the_same_message(
    ann: Reader, ben: Reader, talk: str
) -> None:
    first = ann.ask("POST", f"{talk}/messages", {"cid": "a1", "body": "hello"})
    send(ben, talk, "hi", cid="a1")

    again = ann.ask("POST", f"{talk}/messages", {"cid": "a1", "body": "hello"})

    assert (again.status_code, again.json) == (201, first.json)
    assert bodies(ann, talk) == ["hi", "hello"]


def test_a_cid_that_was_used_for_another_text_or_conversation_is_refused(
    ann: Reader, cleo: Reader, talk: str
) -> None:
    other = f"/conversations/{ann.start_direct(cleo)}"
    send(ann, talk, "hello", cid="a1")

    for path, body in ((talk, "HELLO"), (other, "hello")):
        answer = ann.ask("POST", f"{path}/messages", {"cid": "a1", "body": body})
        problem(answer, 409, "cid-conflict")


def test_pages_of_history_meet_though_messages_come_meanwhile(
    ann: Reader, ben: Reader, talk: str
) -> None:
    for number in range(1, 8):
        send(ben, talk, str(number))

    newest = ann.get(f"{talk}/messages", params={"limit": 3})
    send(ben, talk, "8")
    older = ann.get(f"{talk}/messages", params={"limit": 3, "before": newest["next"]})
    oldest = ann.get(f"{talk}/messages", params={"limit": 3, "before": older["next"]})

    seqs = [[one["seq"] for one in page["results"]] for page in (newest, older, oldest)]
    assert seqs == [[7, 6, 5], [4, 3, 2], [1]]
    assert oldest["next"] is None


def test_a_gap_is_filled_from_where_the_client_stands(ann: Reader, ben: Reader, talk: str) -> None:
    for number in range(1, 6):
        send(ben, talk, str(number))

    first = ann.get(f"{talk}/messages", params={"after": 1, "limit": 2})
    rest = ann.get(f"{talk}/messages", params={"after": first["next"], "limit": 2})

    assert [one["body"] for one in first["results"] + rest["results"]] == ["2", "3", "4", "5"]
    assert rest["next"] is None
    assert bodies(ann, talk, after=0) == ["1", "2", "3", "4", "5"]
    assert bodies(ann, talk, after=2**63 - 1) == []


def test_a_message_is_edited_by_its_sender_within_five_minutes(
    ann: Reader, ben: Reader, talk: str, engine: Engine
) -> None:
    seq = send(ann, talk, "helo")
    path = f"{talk}/messages/{seq}"

    edited = ann.ask("PATCH", path, {"body": "hello"})

    assert (edited.status_code, edited.json["body"]) == (200, "hello")
    (shown,) = ben.get(f"{talk}/messages")["results"]
    assert (shown["body"], shown["edited_at"]) == ("hello", edited.json["edited_at"])
    problem(ben.ask("PATCH", path, {"body": "mine"}), 403, "not-yours")
    with transaction(engine) as conn:
        before = conn.execute(message.select()).one().at - EDITABLE - timedelta(seconds=1)
        conn.execute(update(message).values(at=before))
    problem(ann.ask("PATCH", path, {"body": "late"}), 409, "too-late")


def test_a_message_that_is_deleted_keeps_its_seq_and_nothing_else(
    ann: Reader, ben: Reader, talk: str
) -> None:
    seq = send(ann, talk, "oh")
    send(ann, talk, "well")
    path = f"{talk}/messages/{seq}"
    problem(ben.ask("DELETE", path), 403, "not-yours")

    assert [ann.ask("DELETE", path).status_code for _ in range(2)] == [204, 204]

    deleted = ben.get(f"{talk}/messages")["results"][1]
    assert (deleted["seq"], deleted["body"]) == (1, None)
    assert deleted["deleted_at"] >= deleted["at"]
    assert ben.get("/conversations/unread")["messages"] == 1
    problem(ann.ask("PATCH", path, {"body": "back"}), 404, "unknown-message")


def test_a_message_is_reported_with_its_text_of_that_moment(
    ann: Reader, ben: Reader, talk: str, engine: Engine
) -> None:
    seq = send(ben, talk, "buy this")
    path = f"{talk}/messages/{seq}"

    answers = [ann.ask("POST", f"{path}/reports", {"reason": "spam"}) for _ in range(2)]
    ben.ask("DELETE", path)

    assert [answer.status_code for answer in answers] == [204, 204]
    with engine.connect() as conn:
        (told,) = find_reports(conn, limit=10)
    assert (told.reader_id, told.sender_id) == (ann.reader_id, ben.reader_id)
    assert (told.body, told.reason) == ("buy this", "spam")
    problem(ben.ask("POST", f"{path}/reports", {}), 404, "unknown-message")


def test_nobody_reports_their_own_message(ann: Reader, talk: str) -> None:
    seq = send(ann, talk, "mine")

    answer = ann.ask("POST", f"{talk}/messages/{seq}/reports", {"reason": "?"})

    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    ("method", "below", "wanted"),
    [
        ("GET", "", None),
        ("PATCH", "", {"title": "Mine"}),
        ("DELETE", "", None),
        ("PUT", "/mute", None),
        ("DELETE", "/mute", None),
        ("PUT", "/read", {"seq": 1}),
        ("GET", "/messages", None),
        ("POST", "/messages", {"cid": "c", "body": "b"}),
        ("PATCH", "/messages/1", {"body": "b"}),
        ("DELETE", "/messages/1", None),
        ("POST", "/messages/1/reports", {}),
        ("GET", "/members", None),
        ("POST", "/members", {"reader_ids": [2**52 + 1]}),
        ("DELETE", "/members/1", None),
    ],
)
def test_a_conversation_of_others_is_answered_like_one_that_does_not_exist(
    ben: Reader, cleo: Reader, ann: Reader, method: str, below: str, wanted: Any
) -> None:
    """Whatever is asked of it, and in the very same words."""
    id_ = ben.start_group(cleo)
    ben.send(id_, "secret")

    foreign = ann.ask(method, f"/conversations/{id_}{below}", wanted)
    absent = ann.ask(method, f"/conversations/{id_ + 1}{below}", wanted)

    told = problem(foreign, 404, "unknown-conversation")
    assert told["detail"].replace(str(id_), "#") == absent.json["detail"].replace(str(id_ + 1), "#")
    assert absent.json["type"] == told["type"]
    assert [one["body"] for one in ben.get(f"/conversations/{id_}/messages")["results"]] == [
        "secret"
    ]


@pytest.mark.parametrize(
    ("wanted", "status", "slug"),
    [
        ({}, 422, "invalid-request"),
        ({"cid": "c"}, 422, "invalid-request"),
        ({"cid": "", "body": "b"}, 422, "invalid-request"),
        ({"cid": "c" * 65, "body": "b"}, 422, "invalid-request"),
        ({"cid": "ü", "body": "b"}, 422, "invalid-request"),
        ({"cid": "c\n", "body": "b"}, 422, "invalid-request"),
        ({"cid": "c", "body": ""}, 422, "invalid-request"),
        ({"cid": "c", "body": " \n "}, 422, "invalid-request"),
        ({"cid": "c", "body": 7}, 422, "invalid-request"),
        ({"cid": "c", "body": "b", "sender_id": 7}, 422, "invalid-request"),
        ({"cid": "c", "body": "b" * (MOST_BODY_BYTES + 1)}, 413, "message-too-long"),
        ({"cid": "c", "body": "界" * (MOST_BODY_BYTES // 2)}, 413, "message-too-long"),
    ],
)
def test_what_is_no_message_is_refused(
    ann: Reader, talk: str, wanted: Any, status: int, slug: str
) -> None:
    answer = ann.ask("POST", f"{talk}/messages", wanted)

    problem(answer, status, slug)
    assert bodies(ann, talk) == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"cid": "c", "body": "\\ud800"}',
        b'{"cid": "c", "body": "\xff"}',
        b'{"cid": "c", "body": "b"',
        b"",
    ],
)
def test_a_body_that_is_no_text_is_refused(ann: Reader, talk: str, raw: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = ann.ask("POST", f"{talk}/messages", headers=headers, body=raw)

    assert answer.status_code in (400, 422)
    assert bodies(ann, talk) == []


def test_the_longest_message_may_be_all_escapes(ann: Reader, talk: str) -> None:
    """Its JSON is six times as long, and still let in."""
    wanted = json.dumps({"cid": "c", "body": "\x01" * MOST_BODY_BYTES})
    assert len(wanted) > 6 * MOST_BODY_BYTES

    answer = ann.ask(
        "POST", f"{talk}/messages", headers={"Content-Type": "application/json"}, body=wanted
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "before=0", "after=-1", "after=x", "before=5&after=3", "page=2",
     "after=1&after=2", f"before={2**63}"],
)  # fmt: skip
def test_a_place_that_makes_no_sense_is_refused(ann: Reader, talk: str, query: str) -> None:
    problem(ann.ask("GET", f"{talk}/messages?{query}"), 422, "invalid-request")


@pytest.mark.parametrize("id_", ["0", "-1", "x", "1.5", str(2**63), "1e3"])
def test_what_is_no_number_is_no_conversation(ann: Reader, id_: str) -> None:
    problem(ann.ask("GET", f"/conversations/{id_}"), 422, "invalid-request")


def test_a_message_of_the_future_can_be_neither_changed_nor_reported(
    ann: Reader, talk: str
) -> None:
    send(ann, talk, "now")

    problem(ann.ask("PATCH", f"{talk}/messages/2", {"body": "b"}), 404, "unknown-message")
    problem(ann.ask("DELETE", f"{talk}/messages/2"), 404, "unknown-message")
    problem(ann.ask("POST", f"{talk}/messages/2/reports", {}), 404, "unknown-message")


def test_a_hundred_messages_fit_on_a_page_and_one_more_makes_another(
    chat: ChatRest, ben: Reader
) -> None:
    id_ = ben.start_direct(chat.visitor())
    for number in range(101):
        ben.send(id_, str(number))
    path = f"/conversations/{id_}/messages"

    page = ben.get(path, params={"limit": 100})
    last = ben.get(path, params={"limit": 100, "before": page["next"]})

    assert (len(page["results"]), len(last["results"]), last["next"]) == (100, 1, None)
