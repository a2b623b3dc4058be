"""The description tells the truth: about every answer that a route gives, in each way that a
request can be wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import falcon
import pytest
from falcon import testing

from tests.unit.gateway.doors import READER_ID, Door
from tidings.http.openapi import Operation, describe, name_operation
from tidings.readers.keys import Role

EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")


@pytest.fixture
def stocked(door: Door) -> Door:
    """A door with a channel, and an article 1."""
    door.newsroom.channels(1)
    assert door.newsroom.article() == 1
    door.recommends([1])
    return door


def read_description(door: Door) -> dict[str, Any]:
    answer: dict[str, Any] = door.client.simulate_get("/openapi.json").json
    return answer


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def resolve(description: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in found:
        return found
    place: Any = description
    for part in found["$ref"].removeprefix("#/").split("/"):
        place = place[part]
    target: dict[str, Any] = place
    return target


def faults(
    description: dict[str, Any], operation: dict[str, Any], answer: testing.Result
) -> list[str]:
    """What of an answer is not as it is described."""
    status = str(answer.status_code)
    if status not in operation["responses"]:
        return [f"{status} is not described"]
    described = resolve(description, operation["responses"][status])
    found = []
    for name, header in described["headers"].items():
        value, schema = answer.headers.get(name), header["schema"]
        if value is None:
            found += [f"{status} without {name}"] if header["required"] else []
        elif value not in schema.get("enum", [value]) or not re.search(
            schema.get("pattern", ""), value
        ):
            found.append(f"{status} with {name}: {value}")
    if answer.content and answer.headers["Content-Type"] not in described.get("content", {}):
        found.append(f"{status} as {answer.headers['Content-Type']}")
    return found


def ask(door: Door, method: str, path: str, **options: Any) -> testing.Result:
    filled = re.sub(r"\{\w+\}", options.pop("id", "1"), path)
    return door.client.simulate_request(method.upper(), filled, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"headers": {"X-Reader": ""}},
        {"headers": {"Accept-Encoding": "gzip, identity;q=0"}},
        {"headers": {"If-None-Match": "*"}},
        {"headers": {"Authorization": "Bearer nonsense"}},
        {"headers": {"Idempotency-Key": "k", "Content-Type": "application/json"}, "body": "{}"},
        {"headers": {"Idempotency-Key": "k", "Content-Type": "application/json"}, "body": "{"},
        {"headers": {"Idempotency-Key": "k", "Content-Type": "text/plain"}, "body": "{}"},
        {
            "headers": {"Content-Encoding": "gzip", "Content-Type": "application/json"},
            "body": "{}",
        },
        {"body": "x" * 30_000, "headers": {"Content-Type": "application/json"}},
        {"headers": EVIL},
        {"query_string": "nonsense=1&limit=x"},
        {"id": "999"},
        {"id": "x"},
        {"id": "99999999999999999999999999"},
        {"id": "%00"},
    ],
    ids=repr,
)
def test_every_answer_is_described(stocked: Door, options: dict[str, Any]) -> None:
    description = read_description(stocked)
    callers: tuple[dict[str, str], ...] = (
        {},
        {"X-Reader": stocked.signer.sign(READER_ID)},
        stocked.make_key(Role.READER),
        stocked.make_key(Role.OPERATOR),
    )
    found = {
        f"{method} {path}": wrong
        for method, path, operation in operations(description)
        for headers in callers
        if (
            wrong := faults(
                description,
                operation,
                ask(
                    stocked,
                    method,
                    path,
                    **{**options, "headers": headers | options.get("headers", {})},
                ),
            )
        )
    }

    assert found == {}


def test_caching_is_stated_for_every_route_and_is_what_comes(stocked: Door) -> None:
    description = read_description(stocked)
    good = 0
    for method, path, operation in operations(description):
        for status, answer in operation["responses"].items():
            described = resolve(description, answer)
            assert described["headers"]["Cache-Control"]["required"], (path, status)
        answer = ask(stocked, method, path)
        if answer.status_code < 400:
            good += 1
            stated = operation["responses"][str(answer.status_code)]["headers"]["Cache-Control"]
            assert answer.headers["Cache-Control"] == stated["schema"]["enum"][0], path
    assert good >= 8


def test_every_operation_has_a_name_of_its_own_that_clients_can_use(door: Door) -> None:
    named = [operation["operationId"] for _, _, operation in operations(read_description(door))]

    assert len(set(named)) == len(named)
    assert [name for name in named if not IDENTIFIER.fullmatch(name)] == []


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("get", "/articles", "get_articles"),
        ("get", "/articles/{article_id}", "get_article"),
        ("put", "/articles/{article_id}/liking", "put_article_liking"),
        ("get", "/health/live", "get_health_live"),
        ("post", "/orders/{order_id}/payment", "post_order_payment"),
    ],
)
def test_a_name_says_method_and_thing(method: str, path: str, name: str) -> None:
    assert name_operation(method, path) == name


def test_a_header_that_has_to_be_there_is_described_so(door: Door) -> None:
    parameters = read_description(door)["paths"]["/orders"]["post"]["parameters"]

    (key,) = [parameter for parameter in parameters if parameter["name"] == "Idempotency-Key"]
    assert key["in"] == "header"
    assert key["required"] is True
    assert re.fullmatch(key["schema"]["pattern"], "a-key")


def test_a_picture_is_named_by_its_digest_and_an_article_by_a_number(door: Door) -> None:
    paths = read_description(door)["paths"]
    (digest, *_) = paths["/images/{digest}"]["get"]["parameters"]
    (article, *_) = paths["/articles/{article_id}"]["get"]["parameters"]

    assert re.fullmatch(digest["schema"]["pattern"], hashlib.sha256().hexdigest())
    assert (digest["schema"]["type"], article["schema"]["type"]) == ("string", "integer")


def test_an_operation_says_who_may_call_it(door: Door) -> None:
    description = read_description(door)
    schemes = description["components"]["securitySchemes"]

    assert {name: (each["type"], each.get("name")) for name, each in schemes.items()} == {
        "key": ("http", None),
        "reader": ("apiKey", "X-Reader"),
        "host_cookie": ("apiKey", "__Host-tidings_reader"),
        "cookie": ("apiKey", "tidings_reader"),
    }
    anonymous: dict[str, Any] = {}
    of_reader = description["paths"]["/articles"]["get"]["security"]
    assert of_reader == [anonymous, *({name: []} for name in schemes)]
    assert description["paths"]["/channels"]["get"]["security"] == [anonymous, {"key": []}]


def test_an_operation_for_a_role_needs_a_key() -> None:
    class Desk:
        needs_role = {"get": Role.OPERATOR}
        operations = {"get": Operation("The desk")}

        def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
            raise NotImplementedError

    described = describe({"/desk": Desk()}, "Desk: for tests.", "1")["paths"]["/desk"]["get"]

    assert described["security"] == [{"key": ["operator"]}]
    assert {"401", "403"} <= set(described["responses"])


def test_no_status_stands_for_all_others(door: Door) -> None:
    for _, path, operation in operations(read_description(door)):
        assert "default" not in operation["responses"], path
        assert {"400", "401", "422", "500", "503"} <= set(operation["responses"]), path
