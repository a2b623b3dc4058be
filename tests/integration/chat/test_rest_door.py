"""What every answer of the chat's HTTP has: who may call, whose pages, how much, what is kept."""

from __future__ import annotations

from typing import Any

import pytest
from falcon.inspect import inspect_app
from redis import Redis
from sqlalchemy import Engine

from services.chat.rest.app import DESCRIPTION
from tests.lab.chat_rest import PARTNER, SITE, ChatRest, Reader, make_chat_rest
from tests.unit.gateway.doors import ADDRESS
from tests.unit.gateway.test_bad_input import problem
from tidings.http.errors import OverloadedError
from tidings.http.limits import LimitClass, Quotas
from tidings.http.reader_id import COOKIE
from tidings.readers.keys import revoke_key
from tidings.store.engine import transaction
from tidings.talk.sending import Send

EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
READS = ("/conversations", "/conversations/1", "/conversations/1/messages", "/notices",
         "/conversations/1/members", "/conversations/unread", "/notices/switches",
         "/reader/blocks", "/events")  # fmt: skip
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/conversations", {"kind": "desk"}),
    ("PATCH", "/conversations/1", {"title": "x"}),
    ("DELETE", "/conversations/1", None),
    ("PUT", "/conversations/1/mute", None),
    ("DELETE", "/conversations/1/mute", None),
    ("PUT", "/conversations/1/read", {"seq": 1}),
    ("POST", "/conversations/1/messages", {"cid": "c", "body": "b"}),
    ("PATCH", "/conversations/1/messages/1", {"body": "b"}),
    ("DELETE", "/conversations/1/messages/1", None),
    ("POST", "/conversations/1/messages/1/reports", {}),
    ("POST", "/conversations/1/members", {"reader_ids": [7]}),
    ("DELETE", "/conversations/1/members/7", None),
    ("PUT", "/notices/read", {"seq": 1}),
    ("PUT", "/notices/switches", {"off": []}),
    ("PUT", "/reader/blocks/7", None),
    ("DELETE", "/reader/blocks/7", None),
)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def test_each_route_of_a_reader_is_in_one_of_the_lists_of_this_file(chat: ChatRest) -> None:
    """Or the tests below would leave out the one that was added."""
    routes = {
        (method.method, route.path)
        for route in inspect_app(chat.client.app).routes
        for method in route.methods
        if not method.internal
        and method.method != "HEAD"
        and not route.path.startswith(("/health/", "/static/", "/chat/", "/docs"))
    }

    assert len(routes) == len(READS) + len(WRITES)


@pytest.mark.parametrize("path", READS)
def test_a_guest_without_an_id_reads_nothing_and_is_given_none(chat: ChatRest, path: str) -> None:
    answer = chat.client.simulate_get(path)

    problem(answer, 401, "reader-needed")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tidings"'
    assert answer.cookies == {}
    assert "X-Reader" not in answer.headers


@pytest.mark.parametrize(("method", "path", "wanted"), WRITES)
def test_a_guest_without_an_id_writes_nothing(
    chat: ChatRest, method: str, path: str, wanted: Any
) -> None:
    problem(chat.client.simulate_request(method, path, json=wanted), 401, "reader-needed")


def test_a_forged_id_is_no_reader(chat: ChatRest, ben: Reader) -> None:
    """A guest whose id equals a reader's reads nothing."""
    signed = ben.headers["X-Reader"]
    forged = signed[:-1] + ("A" if signed[-1] != "A" else "B")

    for headers in ({"X-Reader": forged}, {"Cookie": f"{COOKIE}={forged}"}):
        answer = chat.client.simulate_get("/conversations", headers=headers)
        problem(answer, 401, "reader-needed")


def test_a_key_that_is_revoked_opens_no_door_any_more(
    chat: ChatRest, cleo: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleo.get("/conversations")
    monkeypatch.setattr("tidings.readers.checking.REMEMBERED_S", 0)
    with transaction(chat.engine) as conn:
        revoke_key(conn, "cleo")

    problem(cleo.ask("GET", "/conversations"), 401, "key-refused")


@pytest.mark.parametrize(("method", "path", "wanted"), WRITES)
def test_a_page_of_another_site_writes_nothing(
    chat: ChatRest, method: str, path: str, wanted: Any
) -> None:
    visitor = chat.visitor("cookie")

    problem(visitor.ask(method, path, wanted, headers=EVIL), 403, "foreign-write")


@pytest.mark.parametrize("origin", [SITE, PARTNER])
def test_pages_of_the_site_and_of_listed_origins_read_and_write_with_the_cookie(
    chat: ChatRest, origin: str
) -> None:
    """From the gateway's port, which browsers call the same site and another origin."""
    visitor = chat.visitor("cookie")
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-site"}

    read = visitor.ask("GET", "/conversations", headers=headers)
    written = visitor.ask("POST", "/conversations", {"kind": "desk"}, headers=headers)

    assert (read.status_code, written.status_code) == (200, 201)
    for answer in (read, written):
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]
    assert "Location" in written.headers["Access-Control-Expose-Headers"]


def test_a_page_of_another_site_reads_nothing(chat: ChatRest) -> None:
    answer = chat.visitor("cookie").ask("GET", "/conversations", headers=EVIL)

    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("path", "method", "asked"),
    [
        ("/conversations/1/messages/1", "PATCH", "content-type"),
        ("/events", "GET", "last-event-id"),
    ],
)
def test_a_browser_may_ask_before_it_writes_or_resumes(
    chat: ChatRest, path: str, method: str, asked: str
) -> None:
    def preflight(origin: str) -> Any:
        return chat.client.simulate_options(
            path,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": asked,
            },
        )

    answer = preflight(SITE)

    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert asked in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Origin" not in preflight(EVIL["Origin"]).headers


@pytest.mark.parametrize("path", [path for path in READS if "1" not in path])
def test_what_is_a_readers_is_kept_by_no_cache_and_has_an_id(ann: Reader, path: str) -> None:
    answer = ann.ask("GET", path, headers={"X-Request-Id": "mine-1"})

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert {"Cookie", "X-Reader", "Authorization"} <= set(answer.headers["Vary"].split(", "))
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_reading_and_writing_are_limited_apart(engine: Engine, redis_client: Redis) -> None:
    quotas = Quotas(
        of_reader={LimitClass.CHAT_READ: 2, LimitClass.CHAT_WRITE: 1},
        address_times=2,
        key_times=2,
        new_readers=0,
    )
    chat = make_chat_rest(engine, redis_client, quotas=quotas)
    ben, cleo, dora = chat.visitor(), chat.program(), chat.visitor()

    def ask(reader: Reader, method: str = "GET") -> Any:
        wanted = {"kind": "desk"} if method == "POST" else None
        return reader.ask(method, "/conversations", wanted, remote_addr=ADDRESS)

    assert [ask(ben).status_code for _ in range(3)] == [200, 200, 429]
    assert [ask(ben, "POST").status_code for _ in range(2)] == [201, 429]
    assert [ask(cleo).status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    assert [ask(dora).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(ben)
    told = problem(refused, 429, "quota-exceeded")
    assert told["detail"].startswith("reader: 2 in 60 s")
    assert int(refused.headers["Retry-After"]) > 0


def test_a_node_that_can_store_nothing_now_says_when_to_come_back(
    engine: Engine, dead_redis: Redis
) -> None:
    def send(_: Send) -> Any:
        raise OverloadedError("too many messages wait to be stored")

    chat = make_chat_rest(engine, dead_redis, send=send)
    ben = chat.visitor()
    id_ = ben.start_direct(chat.visitor())

    answer = ben.ask("POST", f"/conversations/{id_}/messages", {"cid": "c", "body": "b"})

    problem(answer, 503, "overloaded")
    assert answer.headers["Retry-After"] == "1"


def test_readiness_is_what_the_node_says(engine: Engine, dead_redis: Redis) -> None:
    chat = make_chat_rest(engine, dead_redis, is_ready=lambda: False)

    problem(chat.client.simulate_get("/health/ready"), 503, "not-ready")
    assert chat.client.simulate_get("/health/live").json == {"status": "ok"}


def test_a_page_for_people_and_the_same_as_data_describe_the_chat_alone(chat: ChatRest) -> None:
    """The kinds of problems stand there too, since `/docs#…` names them at either door."""
    page = chat.client.simulate_get("/chat/docs")
    described = chat.client.simulate_get(DESCRIPTION)

    assert described.json["info"]["title"] == "Tidings chat"
    assert "/conversations/{conversation_id}/messages" in described.json["paths"]
    assert "/articles" not in described.json["paths"]
    assert 'href="/chat/openapi.json"' in page.text
    assert 'id="unknown-conversation"' in page.text
    assert "The sandbox" not in page.text
    assert chat.client.simulate_get("/docs").text == page.text
    for style in ("theme.css", "reader.css", "docs.css", "icon.svg"):
        assert f"/static/{style}" in page.text
        assert chat.client.simulate_get(f"/static/{style}").status_code == 200


def test_every_operation_has_a_name_and_needs_a_reader(chat: ChatRest) -> None:
    paths = chat.client.simulate_get(DESCRIPTION).json["paths"]
    operations = {
        operation["operationId"]: operation
        for path, methods in paths.items()
        for operation in methods.values()
        if not path.startswith("/health/")
    }

    assert len(operations) == sum(
        len(methods) for path, methods in paths.items() if not path.startswith("/health/")
    )
    assert all({} not in operation["security"] for operation in operations.values())
    linked = {
        name
        for operation in operations.values()
        for answer in operation["responses"].values()
        for name in answer.get("links", {})
    }
    assert linked
    assert linked <= set(operations)
