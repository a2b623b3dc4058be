"""Notices over HTTP: in both languages, to their audience alone, read and switched off."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.lab.chat_rest import ChatRest, Reader
from tests.unit.gateway.test_bad_input import problem
from tidings.readers.keys import Role
from tidings.store.engine import transaction
from tidings.talk.notices import OPERATORS, NoticeType, notify


def tell(engine: Engine, audience: int, order_id: int) -> None:
    with transaction(engine) as conn:
        notify(
            conn,
            audience=audience,
            type=NoticeType.ORDER_PAID,
            subject=f"order:{order_id}",
            data={"order_id": order_id, "amount_cents": 1200, "currency": "EUR"},
            once=f"order_paid:{order_id}",
        )


def tell_operators(engine: Engine, number: int = 1) -> None:
    with transaction(engine) as conn:
        notify(
            conn,
            audience=OPERATORS,
            type=NoticeType.JOB_DEAD,
            subject=f"job:{number}",
            data={"kind": f"kind-{number}", "ref": 1},
        )


def seqs(answer: Any) -> list[int]:
    return [one["seq"] for one in answer["results"]]


def test_a_notice_is_told_in_both_languages_to_its_reader_alone(
    ann: Reader, ben: Reader, engine: Engine
) -> None:
    tell(engine, ann.reader_id, 42)

    (told,) = ann.get("/notices")["results"]

    assert (told["audience"], told["type"]) == (ann.reader_id, "order_paid")
    assert (told["subject"], told["times"], told["is_read"]) == ("order:42", 1, False)
    assert told["data"]["order_id"] == 42
    assert "42" in told["text"]["en"]
    assert "42" in told["text"]["zh"]
    assert told["text"]["en"] != told["text"]["zh"]
    assert told["at"] > 1_700_000_000_000
    assert ben.get("/notices") == {"results": [], "next": None}


def test_pages_of_notices_meet_though_more_come_meanwhile(ann: Reader, engine: Engine) -> None:
    for order_id in range(1, 6):
        tell(engine, ann.reader_id, order_id)

    first = ann.get("/notices", params={"limit": 2})
    tell(engine, ann.reader_id, 6)
    second = ann.get("/notices", params={"limit": 2, "before": first["next"]})
    third = ann.get("/notices", params={"limit": 2, "before": second["next"]})

    orders = [one["data"]["order_id"] for page in (first, second, third) for one in page["results"]]
    assert orders == [5, 4, 3, 2, 1]
    assert third["next"] is None


def test_the_newest_seq_reads_all_and_a_mark_never_goes_back(ann: Reader, engine: Engine) -> None:
    for order_id in (1, 2, 3):
        tell(engine, ann.reader_id, order_id)
    newest = seqs(ann.get("/notices"))[0]
    assert ann.get("/conversations/unread")["notices"] == 3

    marks = [ann.ask("PUT", "/notices/read", {"seq": seq}).json for seq in (newest - 1, 1)]

    assert marks == [{"seq": newest - 1, "audience": ann.reader_id}] * 2
    assert ann.get("/conversations/unread")["notices"] == 1
    assert [one["is_read"] for one in ann.get("/notices")["results"]] == [False, True, True]
    assert ann.ask("PUT", "/notices/read", {"seq": 2**53}).json["seq"] == newest
    assert ann.get("/conversations/unread")["notices"] == 0


def test_notices_of_operators_are_told_to_operators_alone(
    chat: ChatRest, ann: Reader, ben: Reader, engine: Engine
) -> None:
    tell_operators(engine)
    operator, editor = chat.program(Role.OPERATOR), chat.program(Role.EDITOR)
    path = f"/notices?audience={OPERATORS}"

    (told,) = operator.get(path)["results"]

    assert (told["audience"], told["type"]) == (0, "job_dead")
    assert operator.get("/notices")["results"] == []
    problem(ben.ask("GET", path), 401, "key-needed")
    problem(editor.ask("GET", path), 403, "role-too-small")
    problem(editor.ask("PUT", "/notices/read", {"seq": 1, "audience": 0}), 403, "role-too-small")
    assert ann.get("/notices")["results"] == []


def test_each_operator_has_a_mark_of_their_own(chat: ChatRest, engine: Engine) -> None:
    tell_operators(engine)
    one, other = (chat.program(Role.OPERATOR, name) for name in ("one", "other"))

    marked = one.ask("PUT", "/notices/read", {"seq": 99, "audience": 0})

    assert marked.json == {"seq": 1, "audience": 0}
    assert one.get("/conversations/unread")["operator_notices"] == 0
    assert other.get("/conversations/unread")["operator_notices"] == 1


def test_what_is_unread_of_operators_is_told_to_no_other(ann: Reader, engine: Engine) -> None:
    tell_operators(engine)

    assert ann.get("/conversations/unread") == {
        "conversations": 0,
        "messages": 0,
        "notices": 0,
        "operator_notices": None,
    }


def test_the_notices_of_another_reader_cannot_be_asked_for(
    ann: Reader, ben: Reader, engine: Engine
) -> None:
    tell(engine, ben.reader_id, 42)

    asked = ann.ask("GET", f"/notices?audience={ben.reader_id}")
    marked = ann.ask("PUT", "/notices/read", {"seq": 1, "audience": ben.reader_id})

    assert "audience" in problem(asked, 422, "invalid-request")["errors"]
    problem(marked, 422, "invalid-request")
    assert ben.get("/conversations/unread")["notices"] == 1
    assert ann.get(f"/notices?audience={ann.reader_id}")["results"] == []


def test_a_type_that_is_switched_off_is_heard_no_more(ann: Reader, engine: Engine) -> None:
    heard = ann.get("/notices/switches")["results"]
    assert {one["type"] for one in heard} >= {"order_paid", "order_cancelled"}
    assert "job_dead" not in {one["type"] for one in heard}
    assert all(one["on"] for one in heard)

    answer = ann.ask("PUT", "/notices/switches", {"off": ["order_paid"]})
    tell(engine, ann.reader_id, 1)

    assert {one["type"] for one in answer.json["results"] if not one["on"]} == {"order_paid"}
    assert ann.get("/notices/switches") == answer.json
    assert ann.get("/notices")["results"] == []
    ann.ask("PUT", "/notices/switches", {"off": []})
    tell(engine, ann.reader_id, 2)
    assert len(ann.get("/notices")["results"]) == 1


def test_an_operator_switches_the_types_of_operators_too(chat: ChatRest, engine: Engine) -> None:
    operator = chat.program(Role.OPERATOR)
    tell_operators(engine)

    switched = operator.ask("PUT", "/notices/switches", {"off": ["job_dead"]}).json["results"]

    assert {one["type"]: one["on"] for one in switched}["job_dead"] is False
    assert operator.get("/notices?audience=0")["results"] == []
    assert operator.get("/conversations/unread")["operator_notices"] == 0


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/notices/switches", {}),
        ("/notices/switches", {"off": ["weather"]}),
        ("/notices/switches", {"off": "order_paid"}),
        ("/notices/read", {}),
        ("/notices/read", {"seq": -1}),
        ("/notices/read", {"seq": 2**63}),
        ("/notices/read", {"seq": "1"}),
        ("/notices/read", {"seq": 1, "audience": "operator"}),
        ("/notices/read", {"seq": 1, "reader_id": 7}),
    ],
)
def test_what_makes_no_sense_marks_and_switches_nothing(
    ben: Reader, path: str, wanted: Any
) -> None:
    problem(ben.ask("PUT", path, wanted), 422, "invalid-request")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "before=0", "audience=-1", "seq=1"])
def test_a_list_of_notices_is_asked_for_in_order(ben: Reader, query: str) -> None:
    problem(ben.ask("GET", f"/notices?{query}"), 422, "invalid-request")
