"""What the soak and its load, which are two processes, tell each other: the plan, and in the end
what visitors were told.

Apart from both, since the load's own module cannot be imported where locust is not installed.

    msgspec.json.decode(path.read_bytes(), type=Ledger)
"""

from __future__ import annotations

import msgspec

from tests.faults.money_readers import Placed

# The variable of the environment that the plan stands in.
PLAN = "GATEWAY_LOAD"


class Plan(msgspec.Struct):
    """What the soak asks for."""

    ports: list[int]
    ledger: str
    seed: int


class Ledger(msgspec.Struct):
    """What visitors were told, and how it went, for the soak to compare with the database.

    Attributes:
        acts, exposures: event ids in hex.
        likings: by reader and article, whether it stands; not those whose answer never came.
        tries: requests, of which `unanswered` had to be sent again.
    """

    placed: list[Placed]
    cancelled: list[int]
    paying: dict[str, int]
    wrong: dict[str, int]
    statuses: dict[str, int]
    acts: list[str]
    exposures: list[str]
    likings: list[tuple[int, int, bool]]
    tries: int
    unanswered: int
    p50_ms: float
    p99_ms: float
