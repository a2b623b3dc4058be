"""Who may do what, for every operation that the description says a key is needed for: a caller
without one, a reader, and each role below the needed one are turned away before anything is looked
at, and each role from it on is not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from falcon import testing

from tests.unit.gateway.doors import READER_ID, Door
from tests.unit.gateway.test_bad_input import problem
from tests.unit.gateway.test_openapi import operations, read_description
from tidings.readers.keys import Role

# What each role opens besides what those before it open.
ROLES = {
    Role.AUTHOR: {
        "POST /articles",
        "POST /articles/preview",
        "PUT /articles/{article_id}",
        "PATCH /articles/{article_id}",
        "POST /articles/{article_id}/submission",
        "POST /images",
        "GET /operator/articles",
        "GET /operator/articles/{article_id}",
        "GET /operator/channels",
    },
    Role.EDITOR: {
        "DELETE /articles/{article_id}",
        "POST /articles/{article_id}/review",
        "POST /articles/{article_id}/publication",
        "POST /articles/{article_id}/take-down",
        "POST /articles/{article_id}/restoration",
        "POST /channels",
        "PATCH /channels/{channel_id}",
        "DELETE /channels/{channel_id}",
        "POST /channels/{channel_id}/merge",
        "GET /operator/channels/{channel_id}",
        "GET /operator/audit",
    },
    Role.OPERATOR: {
        "GET /sources",
        "POST /sources",
        "POST /sources/check",
        "GET /sources/{source_id}",
        "PATCH /sources/{source_id}",
        "DELETE /sources/{source_id}",
        "GET /sources/{source_id}/runs",
        "GET /operator/money",
        "GET /operator/money/refunds",
        "GET /operator/money/callbacks",
    },
}
# What a reader writes is the reader's own, and a provider signs what it calls back.
WITHOUT_KEY = re.compile(
    r"\w+ (?:/behaviors|/reader/.*|/orders.*|/payments/callback|.*/(?:liking|collect|dislike))"
)


def needed(description: dict[str, Any]) -> dict[str, Role | None]:
    """Operation → the role that it needs."""
    found: dict[str, Role | None] = {}
    for method, path, operation in operations(description):
        (first, *others) = operation["security"]
        role = Role(first["key"][0]) if not others and first.get("key") else None
        found[f"{method.upper()} {path}"] = role
    return found


def ask(door: Door, operation: str, headers: dict[str, str]) -> testing.Result:
    method, path = operation.split()
    filled = re.sub(r"\{\w+\}", "1", path)
    return door.client.simulate_request(method, filled, headers=headers)


def test_every_operation_needs_the_role_that_is_written_here(door: Door) -> None:
    """So does a route that is added: it fails here until a person has said who may use it."""
    found = needed(read_description(door))

    assert {
        role: {operation for operation, needs in found.items() if needs is role} for role in ROLES
    } == ROLES
    assert Role.READER not in found.values()


def test_what_writes_needs_a_key_or_is_a_readers_own(door: Door) -> None:
    found = needed(read_description(door))

    writes = {operation for operation in found if not operation.startswith("GET ")}
    assert {
        operation
        for operation in writes
        if found[operation] is None and not WITHOUT_KEY.fullmatch(operation)
    } == set()
    assert {
        operation for operation, role in found.items() if " /operator" in operation and role is None
    } == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_caller_of_too_small_a_role_is_turned_away_and_others_are_not(
    door: Door, role: Role
) -> None:
    """Whatever else is wrong with the request: nothing of it was looked at."""
    keys = {each: door.make_key(each) for each in Role}
    reader = {"X-Reader": door.signer.sign(READER_ID)}
    for operation in sorted(ROLES[role]):
        for nobody in ({}, reader):
            refused = ask(door, operation, nobody)
            problem(refused, 401, "key-needed")
            assert "X-Reader" not in refused.headers
        for each, key in keys.items():
            answer = ask(door, operation, key)
            if each.covers(role):
                assert answer.status_code not in (401, 403), (operation, each, answer.text)
            else:
                problem(answer, 403, "role-too-small")
