"""Who calls: what a key opens, what it does not, and what a stranger learns of it."""

from __future__ import annotations

import logging
from typing import Any
from unittest.mock import MagicMock

import pytest
import structlog
from falcon import testing
from falcon.inspect import inspect_app
from sqlalchemy import update

from tests.unit.gateway.doors import READER_ID, Door
from tests.unit.gateway.test_bad_input import problem
from tidings.http.caller import NOBODY, Caller, TellCaller
from tidings.http.reader_id import COOKIE
from tidings.process.clock import moment
from tidings.readers.keys import FIRST_READER_ID, Role, revoke_key
from tidings.readers.tables import api_key
from tidings.store.engine import transaction


class Desk:
    """A door that each role opens by another method, and anonymous readers by `DELETE`."""

    needs_role = {"get": Role.READER, "post": Role.EDITOR, "put": Role.OPERATOR}

    def on_get(self, req: Any, resp: Any) -> None:
        resp.media = req.context.caller.key.name

    on_head = on_post = on_put = on_delete = on_get


@pytest.fixture
def desk(door: Door) -> Door:
    """The door with a route `/desk` on it."""
    door.client.app.add_route("/desk", Desk())
    return door


def test_a_reader_without_a_key_is_anonymous(door: Door) -> None:
    new = door.client.simulate_get("/reader")
    known = door.get("/reader")

    assert new.json["reader_id"] >= 2**52
    assert new.headers["X-Reader"].startswith(str(new.json["reader_id"]))
    assert known.json == {
        "reader_id": READER_ID, "kind": "anonymous", "name": None, "role": None
    }  # fmt: skip


def test_a_key_reads_as_a_reader_of_its_own(door: Door) -> None:
    """Below every anonymous reader and above every account, and no cookie comes with it."""
    headers = door.make_key(Role.EDITOR, "night-desk")

    answer = door.client.simulate_get("/reader", headers=headers)

    assert answer.json == {
        "reader_id": 2**51 + 1, "kind": "key", "name": "night-desk", "role": "editor"
    }  # fmt: skip
    assert "X-Reader" not in answer.headers
    assert answer.cookies == {}


def test_a_key_has_a_feed_and_marks_of_its_own(door: Door) -> None:
    door.newsroom.channels(1)
    door.recommends(door.newsroom.articles(2))
    headers = door.make_key()

    feed = door.client.simulate_get("/articles", headers=headers)
    mine = door.client.simulate_get("/reader/likings", headers=headers)

    assert [request.user_id for request in door.recommender.requests] == [FIRST_READER_ID + 1]
    assert feed.json["served_from"] == "personal"
    assert mine.json == {"results": [], "next": None}


def test_a_key_wins_over_a_cookie_that_comes_along(door: Door) -> None:
    """A browser sends its cookie by itself; a key is sent on purpose."""
    answer = door.client.simulate_get(
        "/reader", headers=door.make_key(), cookies={COOKIE: door.signer.sign(READER_ID)}
    )

    assert answer.json["kind"] == "key"
    assert answer.cookies == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: "",
        lambda key: "Bearer",
        lambda key: "Bearer ",
        lambda key: f"Basic {key}",
        lambda key: f"Bearer {key}x",
        lambda key: f"Bearer {key[:-1]}",
        lambda key: f"Bearer {key} {key}",
        lambda key: f"Bearer {key[:15]}_{'A' * 43}",
        lambda key: f"Bearer tk_000000000000_{key[16:]}",
        lambda key: f"Bearer {key.upper()}",
        lambda key: "Bearer " + "x" * 5000,
    ],
)
@pytest.mark.parametrize("path", ["/reader", "/channels", "/articles", "/"])
def test_what_is_no_key_is_refused_everywhere_by_one_answer(
    door: Door, path: str, spoil: Any
) -> None:
    """Also where none is needed: a program must not go on as a stranger unnoticed. What is wrong
    with the key is not told."""
    key = door.make_key()["Authorization"].removeprefix("Bearer ")

    answer = door.client.simulate_get(path, headers={"Authorization": spoil(key)})

    body = problem(answer, 401, "key-refused")
    assert body["detail"] == "the key is unknown, revoked or expired"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tidings", error="invalid_token"'
    assert answer.headers["Cache-Control"].endswith("no-store")
    assert answer.cookies == {}


def test_the_scheme_is_read_in_any_case(door: Door) -> None:
    """As RFC 9110 has it."""
    authorization = door.make_key()["Authorization"].replace("Bearer", "bEARER ")

    answer = door.client.simulate_get("/reader", headers={"Authorization": authorization})

    assert answer.json["kind"] == "key"


@pytest.mark.parametrize("ending", ["revoked_at", "expires_at"])
def test_a_key_that_is_over_is_refused_like_one_that_never_was(door: Door, ending: str) -> None:
    headers = door.make_key()
    with transaction(door.newsroom.engine) as conn:
        conn.execute(update(api_key).values({ending: moment(1_700_000_000_000)}))

    over = door.client.simulate_get("/reader", headers=headers)
    unknown = door.client.simulate_get(
        "/reader", headers={"Authorization": f"Bearer tk_{'0' * 12}_{'A' * 43}"}
    )

    for answer in (over, unknown):
        problem(answer, 401, "key-refused")
    assert {**over.json, "request_id": ""} == {**unknown.json, "request_id": ""}
    assert over.headers["WWW-Authenticate"] == unknown.headers["WWW-Authenticate"]


def test_a_preflight_is_asked_for_nothing(desk: Door) -> None:
    """A browser sends it without the key that will come with the request itself."""
    assert desk.client.simulate_options("/desk").status_code == 200


@pytest.mark.parametrize(
    ("role", "opens"),
    [
        (Role.READER, {"GET", "HEAD", "DELETE"}),
        (Role.AUTHOR, {"GET", "HEAD", "DELETE"}),
        (Role.EDITOR, {"GET", "HEAD", "DELETE", "POST"}),
        (Role.OPERATOR, {"GET", "HEAD", "DELETE", "POST", "PUT"}),
    ],
)
def test_a_role_opens_what_it_covers_and_no_more(desk: Door, role: Role, opens: set[str]) -> None:
    headers = desk.make_key(role)

    statuses = {
        method: desk.client.simulate_request(method, "/desk", headers=headers).status_code
        for method in ("GET", "HEAD", "DELETE", "POST", "PUT")
    }

    assert statuses == {method: 200 if method in opens else 403 for method in statuses}


def test_a_role_that_is_too_small_is_told_which_is_needed(desk: Door) -> None:
    answer = desk.client.simulate_put("/desk", headers=desk.make_key(Role.AUTHOR))

    assert "operator" in problem(answer, 403, "role-too-small")["detail"]
    assert 'error="insufficient_scope", scope="operator"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_reader_without_a_key_is_asked_for_one(desk: Door, method: str) -> None:
    """Also one whose cookie is good: no cookie has a role."""
    answer = desk.client.simulate_request(
        method, "/desk", cookies={COOKIE: desk.signer.sign(READER_ID)}
    )

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tidings"'


def test_every_request_has_a_caller_even_where_nothing_is_routed() -> None:
    req = testing.create_req()
    middleware = TellCaller(MagicMock(), MagicMock(), lambda *_: True, lambda *_: None)

    middleware.process_request(req, MagicMock())

    assert req.context.caller is NOBODY


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, Caller(5, is_new=True)),
        ({"headers": {"X-Reader": "signed"}}, Caller(READER_ID)),
        ({"headers": {"Cookie": f"{COOKIE}=signed"}}, Caller(READER_ID)),
    ],
)
def test_a_caller_tells_how_its_id_came(sent: Any, expected: Caller) -> None:
    signer = MagicMock()
    signer.read.side_effect = lambda text: (READER_ID, True) if text == "signed" else None
    signer.new_id.return_value, signer.sign.return_value = 5, "x"
    req = testing.create_req(**sent)

    TellCaller(signer, MagicMock(), lambda *_: True, lambda *_: None).process_resource(
        req, MagicMock(), MagicMock(spec_set=["needs_reader"], needs_reader=True), {}
    )

    assert req.context.caller == expected
    assert req.context.reader_id == expected.reader_id


def test_no_id_is_made_where_none_may_be() -> None:
    signer, resp = MagicMock(), MagicMock()
    req = testing.create_req()

    TellCaller(signer, MagicMock(), lambda *_: False, lambda *_: None).process_resource(
        req, resp, MagicMock(spec_set=["needs_reader"], needs_reader=True), {}
    )

    assert req.context.caller == NOBODY
    assert not signer.new_id.called
    assert not resp.set_cookie.called


def test_a_request_names_its_key_in_the_log_and_shows_it_nowhere(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = door.make_key(Role.READER, "crawler")
    secret = headers["Authorization"][-43:]

    with structlog.testing.capture_logs() as lines:
        answer = door.client.simulate_get("/reader", headers=headers)
        refused = door.client.simulate_get(
            "/reader", headers={"Authorization": headers["Authorization"] + "x"}
        )

    (line,) = [line for line in lines if line.get("status") == 200]
    assert (line["key"], line["reader_id"]) == ("crawler", FIRST_READER_ID + 1)
    for shown in (str(lines), caplog.text, answer.text, refused.text, str(refused.headers)):
        assert secret not in shown


def test_a_revoked_key_is_refused_by_a_door_that_has_not_seen_it(door: Door) -> None:
    headers = door.make_key(Role.READER, "lost-laptop")
    with transaction(door.newsroom.engine) as conn:
        revoke_key(conn, "lost-laptop")

    assert door.client.simulate_get("/reader", headers=headers).status_code == 401


def test_while_the_database_is_away_no_key_is_told_and_readers_go_on(door: Door) -> None:
    headers = door.make_key(Role.OPERATOR)
    with transaction(door.newsroom.engine) as conn:
        conn.exec_driver_sql("DROP TABLE api_key")

    refused = door.client.simulate_get("/reader", headers=headers)

    problem(refused, 503, "store-unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert door.get("/reader").status_code == 200


def test_every_route_for_operators_asks_for_a_role(door: Door) -> None:
    """The law: what lies under /operator/ is opened by a key alone, each of its methods."""
    assert find_open(door.client.app) == []


def test_a_route_for_operators_that_asks_for_none_would_be_noticed(door: Door) -> None:
    door.client.app.add_route("/operator/planted", Desk())

    assert find_open(door.client.app) == ["DELETE /operator/planted"]


def find_open(app: Any) -> list[str]:
    """The methods under /operator/ that no role is needed for."""
    found = []
    for route in inspect_app(app).routes:
        if not route.path.startswith("/operator"):
            continue
        resource = app._router.find(route.path)[0]
        asked = {*getattr(resource, "needs_role", {})} | {"head"}
        found += [
            f"{method.method} {route.path}"
            for method in route.methods
            if not method.internal and method.method.lower() not in asked
        ]
    return found
