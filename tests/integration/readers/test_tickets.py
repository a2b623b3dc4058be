"""Tickets: one admits one socket, within a minute by the clock of Redis, and no other text does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from redis import Redis, RedisError

from tests.lab.servers import start_redis
from tests.unit.gateway.doors import READER_ID
from tidings.readers.keys import Key, Role
from tidings.readers.tickets import (
    MOST_CHARS,
    TTL_S,
    Admission,
    TicketRefusedError,
    Tickets,
)
from tidings.store.keys import TICKET

OLD, NEW = b"o" * 32, b"n" * 32
KEY = Key(3, "desk", Role.OPERATOR)


@pytest.fixture
def tickets(redis_client: Redis) -> Tickets:
    return Tickets([NEW], redis_client)


def reason(tickets: Tickets, text: str) -> str:
    """Why it admits no socket."""
    with pytest.raises(TicketRefusedError) as refused:
        tickets.admit(text)
    assert str(refused.value) == "the ticket is wrong, has expired or was used"
    return refused.value.reason


def spoiled(tickets: Tickets, claims: dict[str, Any], key: bytes = b"") -> str:
    """A ticket as it is issued, but for these claims; None leaves one out."""
    text = tickets.issue(READER_ID, None).text
    known = jwt.decode(text, options={"verify_signature": False}) | claims
    kept = {name: value for name, value in known.items() if value is not None}
    return jwt.encode(kept, key or tickets._keys[0], algorithm="HS256")


def test_a_ticket_admits_its_reader_once(tickets: Tickets) -> None:
    text = tickets.issue(READER_ID, None).text

    assert tickets.admit(text) == Admission(READER_ID, role=None, key_id=None)
    assert reason(tickets, text) == "used"


def test_a_ticket_for_a_key_tells_its_role_and_the_key_that_may_be_revoked(
    tickets: Tickets,
) -> None:
    text = tickets.issue(KEY.reader_id, KEY).text

    assert tickets.admit(text) == Admission(KEY.reader_id, role=Role.OPERATOR, key_id=3)


def test_of_a_hundred_that_show_one_ticket_at_once_one_is_admitted(tickets: Tickets) -> None:
    text = tickets.issue(READER_ID, None).text
    together = threading.Barrier(10)

    def show(_: int) -> str:
        together.wait()
        try:
            tickets.admit(text)
        except TicketRefusedError as ex:
            return ex.reason
        return "admitted"

    with ThreadPoolExecutor(10) as pool:
        outcomes = [outcome for _ in range(10) for outcome in pool.map(show, range(10))]

    assert sorted(outcomes) == ["admitted"] + ["used"] * 99


def test_a_ticket_ends_a_minute_after_it_was_issued_by_the_clock_of_redis(
    tickets: Tickets, redis_client: Redis
) -> None:
    now_s = redis_client.time()[0]

    ticket = tickets.issue(READER_ID, None)

    assert now_s <= ticket.expires_at / 1000 - TTL_S <= redis_client.time()[0] + 1
    assert reason(tickets, spoiled(tickets, {"exp": now_s})) == "expired"
    assert tickets.admit(spoiled(tickets, {"exp": now_s + 30})).reader_id == READER_ID


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_machine_whose_clock_is_minutes_off_admits_the_same_tickets(
    tickets: Tickets, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """Trap: the library compares `exp` and `iat` with the clock of its own machine."""

    class Elsewhere(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz or UTC) + timedelta(minutes=minutes)

    text = tickets.issue(READER_ID, None).text
    monkeypatch.setattr("jwt.api_jwt.datetime", Elsewhere)

    assert tickets.admit(text).reader_id == READER_ID


def test_a_ticket_is_remembered_until_it_is_used_or_has_expired(
    tickets: Tickets, redis_client: Redis
) -> None:
    before_s: Any = redis_client.time()[0]
    text = tickets.issue(READER_ID, None).text
    after_s: Any = redis_client.time()[0]
    number = int(jwt.decode(text, options={"verify_signature": False})["jti"])

    end_s: Any = redis_client.expiretime(TICKET.of(number))
    tickets.admit(text)

    assert before_s <= end_s - TTL_S <= after_s + 1
    assert redis_client.keys() == []


@pytest.mark.parametrize(
    "claims",
    [
        {"role": "operator"},
        {"role": "operator", "key": 3},
        {"sub": str(READER_ID + 1)},
        {"sub": str(KEY.reader_id), "role": "operator", "key": 3},
    ],
)
def test_a_stolen_secret_key_makes_no_other_reader_and_no_role_of_a_ticket(
    tickets: Tickets, claims: dict[str, Any]
) -> None:
    """Who signs it anew with what it does not say; and it is used up by that."""
    assert reason(tickets, spoiled(tickets, claims)) == "wrong"


def test_a_redis_that_lost_its_memory_admits_no_used_ticket_again(
    tickets: Tickets, redis_client: Redis
) -> None:
    used, unused = tickets.issue(READER_ID, None).text, tickets.issue(READER_ID, None).text
    tickets.admit(used)
    redis_client.flushall()

    assert reason(tickets, used) == "used"
    assert reason(tickets, unused) == "used"


def test_tickets_under_an_old_key_are_admitted_until_the_key_is_out(redis_client: Redis) -> None:
    text = Tickets([OLD], redis_client).issue(READER_ID, None).text

    assert reason(Tickets([NEW], redis_client), text) == "wrong"
    assert Tickets([NEW, OLD], redis_client).admit(text).reader_id == READER_ID


@pytest.mark.parametrize("absent", ["sub", "jti", "iat", "exp", "aud"])
def test_a_ticket_without_one_of_its_claims_is_none(tickets: Tickets, absent: str) -> None:
    assert reason(tickets, spoiled(tickets, {absent: None})) == "wrong"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "shop"},
        {"sub": "all"},
        {"jti": "x"},
        {"jti": 5},
        {"sub": 5},
        {"role": "king"},
    ],
)
def test_a_ticket_for_something_else_is_none(tickets: Tickets, claims: dict[str, Any]) -> None:
    assert reason(tickets, spoiled(tickets, claims)) == "wrong"


def test_what_was_signed_otherwise_is_none(tickets: Tickets) -> None:
    """With the bare secret, as the other signatures of a site are made from, with another
    algorithm, or not at all."""
    good = tickets.issue(READER_ID, None).text
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, mac = good.split(".")
    unsigned = jwt.encode(claims, None, algorithm="none")
    longer = jwt.encode(claims, tickets._keys[0] * 2, algorithm="HS512")

    for text in (
        spoiled(tickets, {}, key=NEW),
        unsigned,
        longer,
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{unsigned.split('.')[0]}.{body}.{mac}",
    ):
        assert reason(tickets, text) == "wrong"


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "ü.ü.ü", "\x00", "x" * 100_000])
def test_no_other_text_is_a_ticket(tickets: Tickets, text: str) -> None:
    assert reason(tickets, text) == "wrong"


def test_a_long_text_is_not_even_decoded(tickets: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.readers.tickets.jwt.decode", None)

    assert reason(tickets, "x" * (MOST_CHARS + 1)) == "wrong"


def test_without_redis_none_is_issued_and_one_that_was_shown_may_be_shown_again() -> None:
    """A Redis that comes back with what it knew."""
    with (
        start_redis("--appendonly", "yes") as server,
        Redis.from_url(server.url, socket_timeout=5) as redis,
    ):
        tickets = Tickets([NEW], redis)
        text = tickets.issue(READER_ID, None).text
        server.stop()
        with pytest.raises(RedisError):
            tickets.issue(READER_ID, None)
        with pytest.raises(RedisError):
            tickets.admit(text)
        server.start()

        assert tickets.admit(text).reader_id == READER_ID
