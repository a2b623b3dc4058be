"""Bad input over HTTP: each gets one clear problem that names the field, and nothing of ours is
shown."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest
from falcon import testing

from gateway.resources.behaviors import Events
from tests.unit.gateway.doors import MAX_BODY_BYTES, Door
from tidings.http.bodies import decode
from tidings.http.problems import DEFECT, PROBLEMS


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


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "br", "deflate", "gzip, identity", "GZIP"])
def test_a_packed_body_is_refused(door: Door, coding: str) -> None:
    """A few bytes that unpack to a gigabyte would be let in by their size."""
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    body = gzip.compress(b'{"events":[]}')

    answer = door.client.simulate_post("/behaviors", body=body, headers=headers)

    problem(answer, 415, "encoded-body")


def test_a_body_that_is_declared_as_not_packed_is_read(door: Door) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "identity"}

    answer = door.client.simulate_post("/behaviors", body=b'{"events":[]}', headers=headers)

    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"events":[]}',
        b'{"events":[{"track":"\\ud800"}]}',
        b'{"events":[{"track":"t"}],}',
        b'{"events":[{"track":"t"}]}{}',
    ],
    ids=["byte order mark", "half a surrogate", "comma at the end", "two values"],
)
def test_what_some_parsers_forgive_is_refused(door: Door, body: bytes) -> None:
    problem(door.post_raw(body), 400, "malformed-json")


def test_of_a_name_that_comes_twice_the_last_one_counts(door: Door) -> None:
    """As in browsers; but each one has to be right."""
    decoder = msgspec.json.Decoder(Events)

    (event,) = decode(b'{"events":[{"track":"a","track":"b"}]}', decoder).events
    wrong_at_first = door.post_raw(b'{"events":[{"track":5,"track":"t"}]}')

    assert event.track == "b"
    assert list(problem(wrong_at_first, 422, "invalid-request")["errors"]) == ["events[0].track"]


def test_of_thousands_of_wrong_parameters_the_first_are_told(door: Door) -> None:
    """A short question may not be answered at length."""
    query = "&".join(f"{'x' * 200}{number}=1" for number in range(1000))

    answer = door.get("/articles", query_string=query)

    assert problem(answer, 422, "invalid-request")
    assert len(answer.content) < 4000


@pytest.mark.parametrize(
    ("path", "instance"),
    [
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/caf%E9", "/caf%EF%BF%BD"),
        ("/a%20b%22%3Cscript%3E", "/a%20b%22%3Cscript%3E"),
        ("/a%00b", "/a%00b"),
        ("/%2e%2e/etc/passwd", "/../etc/passwd"),
        ("/ARTICLES", "/ARTICLES"),
        ("/nothing/here/", "/nothing/here"),
    ],
)
def test_a_path_that_is_not_there_is_a_problem_that_names_it_as_an_address(
    door: Door, path: str, instance: str
) -> None:
    answer = door.client.simulate_get(path)

    assert problem(answer, 404, "not-found")["instance"] == instance


@pytest.mark.parametrize("path", ["/articles/%31", "/articles/1/", "/articles/01"])
def test_one_article_can_be_written_in_several_ways(door: Door, path: str) -> None:
    door.newsroom.channels(1)
    assert door.newsroom.article() == 1

    assert door.client.simulate_get(path).json["article_id"] == 1


@pytest.mark.parametrize(
    "article_id", ["1.0", "-1", "+1", "1_0", "%D9%A1", "%EF%BC%91", "1%00", "%20", "%FF", "1e3"]
)
def test_what_only_looks_like_a_number_is_none(door: Door, article_id: str) -> None:
    answer = door.client.simulate_get(f"/articles/{article_id}")

    assert "article_id" in problem(answer, 422, "invalid-request")["errors"]


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
    assert answer.status_code == 405
    assert answer.headers["Content-Type"] == "application/problem+json"
    if method != "HEAD":
        problem(answer, 405, "method-not-allowed")
    assert "OPTIONS" in answer.headers["Allow"]
    assert method not in answer.headers["Allow"].split(", ")


def test_a_path_says_which_methods_it_takes(door: Door) -> None:
    def allowed(path: str) -> set[str]:
        answer = door.client.simulate_options(path)
        assert answer.status_code in (200, 204)
        assert answer.content == b""
        return set(answer.headers["Allow"].split(", "))

    assert allowed("/articles") == {"GET", "HEAD", "POST", "OPTIONS"}
    assert allowed("/orders/1") == {"GET", "HEAD", "DELETE", "OPTIONS"}
    assert allowed("/channels") == set(
        door.client.simulate_delete("/channels").headers["Allow"].split(", ")
    )
    problem(door.client.simulate_options("/nothing"), 404, "not-found")


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_a_method_nobody_knows_is_a_problem(door: Door) -> None:
    """Falcon refuses WEBSOCKET before any middleware has seen the request."""
    for method in ("BREW", "WEBSOCKET"):
        answer = door.client.simulate_request(method, "/articles")

        problem(answer, 400, "bad-request")


def test_every_problem_has_its_place_in_the_docs(door: Door) -> None:
    docs = door.client.simulate_get("/docs").text

    for kind in (*PROBLEMS.values(), DEFECT):
        assert f'id="{kind.slug}"' in docs


def ask_as_a_server(door: Door, **environ: str) -> testing.Result:
    """Without the checks of the test client, which lets no odd request through."""
    capture = testing.StartResponseMock()
    made = testing.create_environ(path="/behaviors", method="POST", body=b"{}")
    body = door.client.app({**made, "CONTENT_TYPE": "application/json", **environ}, capture)
    return testing.Result(body, capture.status or "", capture.headers or ())


@pytest.mark.parametrize("length", ["-1", "many", "1.5"])
def test_a_header_that_falcon_cannot_read_is_a_problem(door: Door, length: str) -> None:
    problem(ask_as_a_server(door, CONTENT_LENGTH=length), 400, "bad-request")


def test_a_server_that_is_asked_for_no_path_names_the_methods_of_all(door: Door) -> None:
    answer = ask_as_a_server(door, REQUEST_METHOD="OPTIONS", PATH_INFO="*")

    assert answer.status_code == 204
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    assert answer.headers["X-Request-Id"]
    problem(ask_as_a_server(door, REQUEST_METHOD="GET", PATH_INFO="*"), 404, "not-found")


def test_slashes_at_the_start_are_one_and_within_a_path_they_are_not(door: Door) -> None:
    start = ask_as_a_server(door, REQUEST_METHOD="GET", PATH_INFO="//channels")
    within = ask_as_a_server(door, REQUEST_METHOD="GET", PATH_INFO="/articles//1")

    assert start.status_code == 200
    problem(within, 404, "not-found")


def test_a_defect_shows_nothing_of_itself(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> None:
        raise KeyError("the secret of the house")

    monkeypatch.setattr(door.recommending, "feed", burst)
    door.newsroom.channels(1)

    answer = door.get("/articles")

    assert problem(answer, 500, "internal-error")["detail"] == "the request id finds it in the log"
    assert "secret" not in answer.text
