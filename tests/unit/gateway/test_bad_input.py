"""Bad input over HTTP: each gets one clear problem that names the field, and nothing of ours is
shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from falcon import testing

from tests.unit.gateway.doors import MAX_BODY_BYTES, Door


def problem(answer: testing.Result, status: int, slug: str) -> dict[str, Any]:
    """The body of a problem, after checking what every problem has."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json
    assert body["type"] == f"/docs#{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return body


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("article_num=0", "article_num", "from 1 to 100"),
        ("article_num=101", "article_num", "from 1 to 100"),
        ("article_num=x", "article_num", "'x'"),
        ("article_num=", "article_num", "''"),
        ("article_num=1e1", "article_num", "'1e1'"),
        ("article_num=%D9%A3", "article_num", "whole number"),
        ("article_num=5&article_num=6", "article_num", "more than once"),
        ("time_stamp=-1", "time_stamp", "ms since 1970"),
        ("time_stamp=soon", "time_stamp", "'soon'"),
        ("time_stamp=NaN", "time_stamp", "'NaN'"),
        ("time_stamp=9007199254740992", "time_stamp", "to 9007199254740991"),
        ("time_stamp=" + "9" * 5000, "time_stamp", "…"),
        ("channel_id=-3", "channel_id", "from 0"),
        ("channel_id=2147483648", "channel_id", "to 2147483647"),
        ("chanel_id=1", "chanel_id", "unknown"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named_with_what_would_be_right(
    door: Door, query: str, field: str, reason: str
) -> None:
    answer = door.get(f"/articles?{query}")

    errors = problem(answer, 422, "invalid-request")["errors"]
    assert list(errors) == [field]
    assert reason in errors[field]
    assert door.recommender.requests == []


def test_all_wrong_parameters_are_told_at_once(door: Door) -> None:
    answer = door.get("/articles?article_num=0&time_stamp=x&wrong=1")

    assert set(problem(answer, 422, "invalid-request")["errors"]) == {
        "article_num",
        "time_stamp",
        "wrong",
    }


def test_an_unknown_channel_is_named(door: Door) -> None:
    door.newsroom.channels(1)

    answer = door.get("/articles?channel_id=77")

    assert "77" in problem(answer, 404, "unknown-channel")["errors"]["channel_id"]


def test_the_year_3000_is_now(door: Door) -> None:
    door.newsroom.channels(1)
    ids = door.newsroom.articles(3)
    door.recommends(ids)

    answer = door.get("/articles?time_stamp=32503680000000")

    assert [card["article_id"] for card in answer.json["results"]] == ids


@pytest.mark.parametrize(
    "article_id", ["0", "99", "9223372036854775808", "123456789012345678901234"]
)
def test_an_article_that_is_not_there_is_named(door: Door, article_id: str) -> None:
    answer = door.get(f"/articles/{article_id}")

    assert article_id in problem(answer, 404, "unknown-article")["detail"]


def test_an_article_that_was_taken_down_is_not_there(door: Door) -> None:
    door.newsroom.channels(1)
    article_id = door.newsroom.article(status="taken_down")

    problem(door.get(f"/articles/{article_id}"), 404, "unknown-article")


def test_an_article_id_that_is_no_number_is_refused_by_name(door: Door) -> None:
    assert "article_id" in problem(door.get("/articles/x"), 422, "invalid-request")["errors"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"events":[{"track":"t","at":NaN}]}',
        b'{"events":[{"track":"t","at":Infinity}]}',
        b'{"events":[{"track":"\xc3\x28"}]}',
        b'{"events":[{"track":"t"}]} trailing',
    ],
)
def test_a_body_that_is_not_json_is_refused(door: Door, body: bytes) -> None:
    problem(door.post_raw(body), 400, "malformed-json")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": [{"track": "t", "att": 1}]}, "events[0].att"),
        ({"events": [{"track": "t"}], "more": 1}, "more"),
        ({"events": [{"track": "t"}, {"track": 5}]}, "events[1].track"),
        ({"events": [{"at": 5}]}, "events[0]"),
        ({"events": [{"track": ""}]}, "events[0].track"),
        ({"events": [{"track": "t" * 121}]}, "events[0].track"),
        ({"events": [{"track": "t", "at": 1.5}]}, "events[0].at"),
        ({"events": [{"track": "t", "at": -1}]}, "events[0].at"),
        ({"events": [{"track": "t", "at": 10**30}]}, "events[0].at"),
        ({"events": [{"track": "t", "read_ms": "long"}]}, "events[0].read_ms"),
        ({"events": []}, "events"),
        ({"events": [{"track": "t"}] * 101}, "events"),
        ({"events": {"track": "t"}}, "events"),
        ({}, "body"),
        ([], "body"),
        (None, "body"),
    ],
)
def test_a_wrong_field_of_a_body_is_named_with_its_place(door: Door, body: Any, field: str) -> None:
    answer = door.post_raw(json.dumps(body).encode())

    assert list(problem(answer, 422, "invalid-request")["errors"]) == [field]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "expected JSON of the type object, got array"),
        ({"events": []}, "expected at least 1 entries"),
        ({"events": [{"track": "t"}] * 101}, "expected at most 100 entries"),
        ({"events": [{"track": ""}]}, "expected at least 1 characters"),
        ({"events": [{"track": 5}]}, "expected JSON of the type str, got int"),
        ({"events": [{"track": "t", "read_ms": "x"}]}, "expected JSON of the type int or null, "),
    ],
)
def test_a_wrong_field_is_told_in_plain_words(door: Door, body: Any, reason: str) -> None:
    answer = door.post_raw(json.dumps(body).encode())

    (told,) = problem(answer, 422, "invalid-request")["errors"].values()
    assert told.startswith(reason)


def test_a_body_nested_a_hundred_thousand_deep_is_refused(door: Door) -> None:
    depth = MAX_BODY_BYTES - 20

    assert door.post_raw(b'{"events":' + b"[" * depth).status_code in (400, 422)
    assert door.post_raw(b'{"more":' + b"[" * depth).status_code in (400, 422)


def test_a_body_that_is_too_large_is_refused(door: Door) -> None:
    answer = door.post_raw(b" " * (MAX_BODY_BYTES + 1))

    assert str(MAX_BODY_BYTES) in problem(answer, 413, "body-too-large")["detail"]


def test_a_body_of_undeclared_length_is_read_no_further_than_allowed(door: Door) -> None:
    answer = door.client.simulate_post(
        "/behaviors",
        body=b" " * (MAX_BODY_BYTES + 1),
        headers={"Content-Type": "application/json", "Content-Length": ""},
    )

    problem(answer, 413, "body-too-large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_declared_as_something_else_is_refused(door: Door, content_type: str) -> None:
    """A form on another site can send these types without asking; JSON it cannot."""
    problem(door.post_raw(b'{"events":[]}', content_type), 415, "not-json")


def test_a_path_that_is_not_there_is_a_problem_too(door: Door) -> None:
    assert (
        problem(door.client.simulate_get("/nothing/here"), 404, "not-found")["instance"]
        == "/nothing/here"
    )


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/articles"), ("HEAD", "/behaviors"), ("GET", "/behaviors")]
)
def test_a_method_that_is_not_there_is_a_problem_that_names_those_that_are(
    door: Door, method: str, path: str
) -> None:
    answer = door.client.simulate_request(method, path)

    assert answer.status_code == 405
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "OPTIONS" in answer.headers["Allow"]


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_a_method_nobody_knows_is_a_problem(door: Door) -> None:
    """Falcon refuses WEBSOCKET before any middleware has seen the request."""
    for method in ("BREW", "WEBSOCKET"):
        answer = door.client.simulate_request(method, "/articles")

        assert 400 <= answer.status_code < 500
        assert answer.headers["X-Request-Id"]


def test_a_defect_shows_nothing_of_itself(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> None:
        raise KeyError("the secret of the house")

    monkeypatch.setattr(door.recommending, "feed", burst)
    door.newsroom.channels(1)

    answer = door.get("/articles")

    assert problem(answer, 500, "internal-error")["detail"] == "the request id finds it in the log"
    assert "secret" not in answer.text
