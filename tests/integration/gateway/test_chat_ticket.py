"""`POST /reader/chat-ticket`: whom the ticket admits, and who may ask for it."""

from __future__ import annotations

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.unit.gateway.doors import ADDRESS, KEYS, READER_ID, Door, make_door
from tidings.http.limits import LimitClass, Quotas
from tidings.http.reader_id import COOKIE
from tidings.readers.keys import FIRST_READER_ID, Role
from tidings.readers.tickets import Admission, Tickets

PATH = "/reader/chat-ticket"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def door(engine: Engine, redis_client: Redis) -> Door:
    return make_door(engine, redis_client)


@pytest.fixture
def tickets(redis_client: Redis) -> Tickets:
    """Those of the chat."""
    return Tickets(KEYS, redis_client)


def test_a_ticket_names_the_reader_of_the_cookie_and_where_the_chat_is(
    door: Door, tickets: Tickets
) -> None:
    answer = door.client.simulate_post(
        PATH,
        cookies={COOKIE: door.signer.sign(READER_ID)},
        headers={"Sec-Fetch-Site": "same-origin", "Host": "127.0.0.1:8000"},
    )

    assert answer.status_code == 200
    assert answer.json["url"] == "ws://127.0.0.1:8001/ws"
    assert answer.json["rest"] == "http://127.0.0.1:8001"
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert tickets.admit(answer.json["ticket"]) == Admission(READER_ID, role=None, key_id=None)


def test_a_ticket_names_the_key_that_was_shown(door: Door, tickets: Tickets) -> None:
    answer = door.client.simulate_post(PATH, headers=door.make_key(Role.EDITOR))

    assert tickets.admit(answer.json["ticket"]) == Admission(
        FIRST_READER_ID + 1, role=Role.EDITOR, key_id=1
    )


def test_a_newcomer_gets_an_id_and_a_ticket_that_names_it(door: Door, tickets: Tickets) -> None:
    answer = door.client.simulate_post(PATH)

    known = door.signer.read(answer.cookies[COOKIE].value)
    assert known is not None
    assert tickets.admit(answer.json["ticket"]).reader_id == known[0]


def test_no_header_or_parameter_makes_a_ticket_for_another_reader(
    door: Door, tickets: Tickets
) -> None:
    forged = door.signer.sign(READER_ID).replace(str(READER_ID), str(READER_ID + 1))

    answer = door.client.simulate_post(PATH, headers={"X-Reader": forged})
    named = door.client.simulate_post(f"{PATH}?reader_id={READER_ID + 1}")

    assert tickets.admit(answer.json["ticket"]).reader_id not in (READER_ID, READER_ID + 1)
    assert named.status_code == 422


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "none"}]
)
def test_a_page_of_another_site_gets_no_ticket(door: Door, headers: dict[str, str]) -> None:
    answer = door.client.simulate_post(
        PATH, cookies={COOKIE: door.signer.sign(READER_ID)}, headers=headers
    )

    assert (answer.status_code, answer.json["type"]) == (403, "/docs#foreign-write")


def test_tickets_are_limited(engine: Engine, redis_client: Redis) -> None:
    quotas = Quotas(of_reader={LimitClass.WRITE: 2}, address_times=0, key_times=1, new_readers=0)
    door = make_door(engine, redis_client, quotas=quotas)

    statuses = [
        door.client.simulate_post(
            PATH, headers={"X-Reader": door.signer.sign(READER_ID)}, remote_addr=ADDRESS
        ).status_code
        for _ in range(3)
    ]

    assert statuses == [200, 200, 429]
