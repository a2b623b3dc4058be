"""Members and blocks over HTTP: who is in, who is here, and who hears nothing of another."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import Engine

from tests.lab.chat_rest import ChatRest, Reader, make_chat_rest
from tests.unit.gateway.test_bad_input import problem


def members(reader: Reader, id_: int) -> dict[int, dict[str, Any]]:
    shown = reader.get(f"/conversations/{id_}/members")["results"]
    return {one["reader_id"]: one for one in shown}


def test_members_are_told_with_where_they_have_read_and_whether_they_are_here(
    chat: ChatRest, ann: Reader, ben: Reader, cleo: Reader
) -> None:
    id_ = ann.start_group(ben, cleo)
    ann.send(id_, "hello")
    ben.ask("PUT", f"/conversations/{id_}/read", {"seq": 1})
    chat.present.update((ann.reader_id, ben.reader_id))

    told = members(cleo, id_)

    assert list(told) == sorted((ann.reader_id, ben.reader_id, cleo.reader_id))
    assert {id_: one["role"] for id_, one in told.items()} == {
        ann.reader_id: "owner",
        ben.reader_id: "member",
        cleo.reader_id: "member",
    }
    assert [told[one.reader_id]["read_seq"] for one in (ben, cleo)] == [1, 0]
    assert [told[one.reader_id]["here"] for one in (ann, ben, cleo)] == [True, True, False]


def test_members_are_told_though_nobody_knows_who_is_here(
    engine: Engine, dead_redis: Redis
) -> None:
    """While Redis is away."""

    def present(_: Collection[int]) -> Collection[int]:
        raise RedisConnectionError("away")

    chat = make_chat_rest(engine, dead_redis, present=present)
    ann, ben = chat.visitor(), chat.visitor()

    told = members(ann, ann.start_group(ben))

    assert {one["here"] for one in told.values()} == {None}
    assert len(told) == 2


@pytest.mark.parametrize("blocks", ["the other", "the caller"])
def test_presence_is_not_told_between_two_of_whom_one_blocks_the_other(
    chat: ChatRest, ann: Reader, ben: Reader, blocks: str
) -> None:
    id_ = ann.start_group(ben)
    chat.present.add(ben.reader_id)
    assert members(ann, id_)[ben.reader_id]["here"]

    one, other = (ben, ann) if blocks == "the other" else (ann, ben)
    one.ask("PUT", f"/reader/blocks/{other.reader_id}")

    assert not members(ann, id_)[ben.reader_id]["here"]


def test_the_owner_takes_readers_in_and_they_see_what_is_written_from_then_on(
    ann: Reader, ben: Reader, cleo: Reader, stranger: Reader
) -> None:
    id_ = ann.start_group(ben)
    ann.send(id_, "before")
    path = f"/conversations/{id_}/members"
    problem(ben.ask("POST", path, {"reader_ids": [stranger.reader_id]}), 403, "not-yours")

    added = ann.ask("POST", path, {"reader_ids": [cleo.reader_id, ben.reader_id]})

    assert added.status_code == 204
    ann.send(id_, "after")
    shown = cleo.get(f"/conversations/{id_}/messages")["results"]
    assert [one["body"] for one in shown] == ["after"]
    assert cleo.get(f"/conversations/{id_}")["unread"] == 1


def test_the_owner_removes_others_and_each_leaves_by_themselves(
    ann: Reader, ben: Reader, cleo: Reader, stranger: Reader
) -> None:
    id_ = ann.start_group(ben, cleo)
    path = f"/conversations/{id_}/members"
    problem(ben.ask("DELETE", f"{path}/{cleo.reader_id}"), 403, "not-yours")

    assert ann.ask("DELETE", f"{path}/{cleo.reader_id}").status_code == 204
    problem(cleo.ask("GET", f"/conversations/{id_}"), 404, "unknown-conversation")
    problem(ann.ask("DELETE", f"{path}/{stranger.reader_id}"), 404, "unknown-conversation")

    assert ann.ask("DELETE", f"{path}/{ann.reader_id}").status_code == 204
    assert ben.get(f"/conversations/{id_}")["role"] == "owner"


def test_a_conversation_between_two_takes_no_third(ann: Reader, ben: Reader, cleo: Reader) -> None:
    id_ = ann.start_direct(ben)

    answer = ann.ask("POST", f"/conversations/{id_}/members", {"reader_ids": [cleo.reader_id]})

    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("wanted", [{}, {"reader_ids": []}, {"reader_ids": ["x"]}, {"ids": [7]}])
def test_what_names_no_reader_adds_none(ann: Reader, ben: Reader, wanted: Any) -> None:
    id_ = ann.start_group(ben)

    problem(ann.ask("POST", f"/conversations/{id_}/members", wanted), 422, "invalid-request")
    assert len(members(ann, id_)) == 2


def test_between_two_of_whom_one_blocks_the_other_nothing_is_sent(ann: Reader, ben: Reader) -> None:
    id_ = ann.start_direct(ben)
    ben.send(id_, "before")
    assert ann.ask("PUT", f"/reader/blocks/{ben.reader_id}").status_code == 204

    for reader in (ann, ben):
        wanted = {"cid": "c", "body": "b"}
        answer = reader.ask("POST", f"/conversations/{id_}/messages", wanted)
        told = problem(answer, 403, "blocked")
        assert told["detail"] == "one of you blocks the other"

    ann.ask("DELETE", f"/reader/blocks/{ben.reader_id}")
    assert ben.send(id_, "after") == 2


def test_nobody_is_drawn_into_a_group_by_one_they_block(ann: Reader, ben: Reader) -> None:
    ann.ask("PUT", f"/reader/blocks/{ben.reader_id}")

    for wanted in (
        {"kind": "group", "title": "Friday", "reader_ids": [ann.reader_id]},
        {"kind": "direct", "reader_id": ann.reader_id},
    ):
        problem(ben.ask("POST", "/conversations", wanted), 403, "blocked")


def test_in_a_group_the_texts_of_one_who_is_blocked_are_hidden_and_uncounted(
    ann: Reader, ben: Reader, cleo: Reader
) -> None:
    id_ = cleo.start_group(ann, ben)
    ben.send(id_, "noise")
    cleo.send(id_, "news")
    ann.ask("PUT", f"/reader/blocks/{ben.reader_id}")

    shown = ann.get(f"/conversations/{id_}/messages")["results"]

    assert [(one["body"], one["hidden"]) for one in shown] == [("news", False), (None, True)]
    assert ann.get("/conversations/unread")["messages"] == 1
    assert [one["hidden"] for one in cleo.get(f"/conversations/{id_}/messages")["results"]] == [
        False,
        False,
    ]


def test_blocks_are_listed_page_by_page_and_belong_to_their_reader(
    ann: Reader, ben: Reader
) -> None:
    ids = [2**52 + number for number in (5, 1, 3)]
    for id_ in (*ids, ids[0]):
        assert ann.ask("PUT", f"/reader/blocks/{id_}").status_code == 204

    first = ann.get("/reader/blocks", params={"limit": 2})
    second = ann.get("/reader/blocks", params={"limit": 2, "after": first["next"]})

    listed = [one["reader_id"] for one in first["results"] + second["results"]]
    assert listed == sorted(ids)
    assert second["next"] is None
    assert all(one["at"] > 1_700_000_000_000 for one in first["results"])
    assert ben.get("/reader/blocks")["results"] == []
    assert ben.ask("DELETE", f"/reader/blocks/{ids[0]}").status_code == 204
    assert len(ann.get("/reader/blocks")["results"]) == 3


def test_nobody_blocks_themselves(ann: Reader) -> None:
    answer = ann.ask("PUT", f"/reader/blocks/{ann.reader_id}")

    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("id_", ["0", "x", "-5", str(2**63)])
def test_what_is_no_reader_is_not_blocked(ann: Reader, id_: str) -> None:
    problem(ann.ask("PUT", f"/reader/blocks/{id_}"), 422, "invalid-request")
