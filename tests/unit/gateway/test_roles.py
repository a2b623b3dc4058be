"""Who may do what, for every operation that the description says a key is needed for: a caller
without one, a reader, and each role below the needed one are turned away before anything is looked
at, and each role from it on is not."""

from __future__ import annotations

import re
from typing import Any

from falcon import testing

from tests.unit.gateway.doors import Door
from tests.unit.gateway.test_openapi import operations
from tidings.readers.keys import Role

# What each role adds to those before it. A route with a key that is missing here fails.
ADDED: dict[Role, set[str]] = {Role.READER: set(), Role.AUTHOR: set(), Role.EDITOR: set()}
# What a reader does by writing is their own.
READERS_OWN = re.compile(
    r"/(behaviors|reader/|orders|payments/callback|articles/\{article_id\}/(liking|collect|dislike)"
    r"|(authors|channels)/\{\w+\}/dislike)"
)


def needs(description: dict[str, Any]) -> dict[str, Role]:
    """Operation → the role that it needs, for those that need one."""
    return {
        f"{method.upper()} {path}": Role(operation["security"][0]["key"][0])
        for method, path, operation in operations(description)
        if len(operation["security"]) == 1 and operation["security"][0].get("key")
    }


def ask(door: Door, operation: str, **headers: str) -> testing.Result:
    method, path = operation.split()
    filled = re.sub(r"\{\w+\}", "1", path)
    return door.client.simulate_request(method, filled, headers=headers)
