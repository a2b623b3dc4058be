"""What pages of other sites can and cannot make a reader's browser do."""

from __future__ import annotations

from typing import Any

import pytest
from falcon import testing
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.unit.gateway.doors import READER_ID, Door, make_door
from tidings.http.origins import find_chat_origins
from tidings.http.reader_id import COOKIE, HOST_COOKIE
from tidings.process.errors import SettingsError

PARTNER = "https://partner.example"
EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
WRITES = [
    ("PUT", "/articles/1/liking"),
    ("DELETE", "/articles/1/liking"),
    ("PUT", "/authors/1/dislike"),
    ("POST", "/orders"),
    ("DELETE", "/orders/1"),
    ("POST", "/orders/1/payment"),
    ("POST", "/behaviors"),
]


@pytest.fixture
def open_door(engine: Engine, dead_redis: Redis) -> Door:
    """A door where PARTNER's pages may read and write."""
    door = make_door(engine, dead_redis, allowed_origins=(PARTNER,))
    door.newsroom.channels(1)
    return door


def write(
    door: Door, method: str = "DELETE", path: str = "/orders/1", **headers: str
) -> testing.Result:
    """A write by cookie."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    cookies = {COOKIE: door.signer.sign(READER_ID)}
    return door.client.simulate_request(method, path, headers=given, cookies=cookies)


def is_refused(answer: testing.Result) -> bool:
    if answer.status_code != 403:
        return False
    assert answer.json["type"] == "/docs#foreign-write"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"].endswith("no-store")
    return True


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
def test_a_page_of_another_site_writes_nothing(
    door: Door, method: str, path: str, content_type: str
) -> None:
    """Trap: any page could pay a reader's order with a form."""
    assert is_refused(write(door, method, path, Content_Type=content_type, **_named(EVIL)))
    assert is_refused(write(door, method, path, Origin="https://evil.example"))
    assert is_refused(write(door, method, path, Sec_Fetch_Site="cross-site"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin,cross-site"},
        {"Sec_Fetch_Site": "SAME-ORIGIN"},
        {"Sec_Fetch_Site": ""},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "https://news.example.evil.example"},
        {"Origin": "https://news.example:8443"},
        {"Origin": "https://news.example/"},
        {"Origin": "http://news.example"},
        {"Origin": "https://news.example, https://evil.example"},
        {"Origin": PARTNER},
    ],
)
def test_what_only_looks_like_this_site_writes_nothing(door: Door, headers: dict[str, str]) -> None:
    assert is_refused(write(door, **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://elsewhere.example"},
        {"Origin": "https://news.example"},
        {"Sec_Fetch_Site": "same-site", "Origin": "https://news.example"},
        {"Origin": "http://falconframework.org"},
    ],
)
def test_a_page_of_this_site_and_a_program_write(door: Door, headers: dict[str, str]) -> None:
    """By the site's address as it is set, or as the request names it; programs send neither
    header."""
    assert write(door, **headers).status_code == 404


@pytest.mark.parametrize("name", [COOKIE, HOST_COOKIE])
def test_the_rule_holds_over_https_and_for_either_cookie(door: Door, name: str) -> None:
    def write(origin: str) -> testing.Result:
        return door.client.simulate_delete(
            "/orders/1",
            protocol="https",
            host="desk.example",
            headers={"Origin": origin},
            cookies={name: door.signer.sign(READER_ID)},
        )

    assert write("https://desk.example").status_code == 404
    assert is_refused(write("http://desk.example"))


@pytest.mark.parametrize("name", ["X-Reader", "Authorization"])
def test_a_caller_that_says_who_it_is_by_a_header_is_no_caller_by_cookie(
    door: Door, name: str
) -> None:
    """No page sends these two without the site's leave."""
    value = {"X-Reader": door.signer.sign(READER_ID), "Authorization": "Bearer abc"}[name]

    assert not is_refused(write(door, **_named({**EVIL, name: value})))


@pytest.mark.parametrize(
    "header", [("X-Reader", ""), ("X-Reader", "junk"), ("Authorization", "Basic YTpi")]
)
def test_a_header_that_a_browser_sends_by_itself_is_no_such_word(
    door: Door, header: tuple[str, str]
) -> None:
    assert is_refused(write(door, **_named({**EVIL, header[0]: header[1]})))


def test_a_foreign_page_without_a_cookie_gets_none_to_replace_the_one_that_stayed_at_home(
    door: Door,
) -> None:
    answer = door.client.simulate_delete("/orders/1", headers=EVIL)

    assert is_refused(answer)
    assert not answer.cookies


def test_reading_is_free_for_every_page(door: Door) -> None:
    """Another site's page cannot read the answer, and a link to this site has to work."""
    door.newsroom.channels(1)

    assert door.client.simulate_get("/articles", headers=EVIL).status_code == 200
    assert door.client.simulate_head("/channels", headers=EVIL).status_code == 200


def test_a_listed_origin_may_write_with_the_cookie(open_door: Door) -> None:
    answer = write(open_door, Origin=PARTNER, Sec_Fetch_Site="same-site")

    assert answer.status_code == 404
    assert answer.headers["Access-Control-Allow-Origin"] == PARTNER
    assert is_refused(write(open_door, **_named(EVIL)))


def test_a_listed_origin_may_read_answers_and_what_they_say_in_headers(open_door: Door) -> None:
    answer = open_door.client.simulate_get("/articles", headers={"Origin": PARTNER})

    assert answer.headers["Access-Control-Allow-Origin"] == PARTNER
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert set(answer.headers["Access-Control-Expose-Headers"].split(", ")) == {
        *("X-Request-Id", "X-Reader", "RateLimit", "RateLimit-Policy", "Retry-After"),
        *("ETag", "Location"),
    }
    assert "Origin" in answer.headers["Vary"]


def test_a_problem_and_a_304_are_read_by_a_listed_origin_too(open_door: Door) -> None:
    tag = open_door.client.simulate_get("/channels").headers["ETag"]
    for path, status in (("/articles?x=1", 422), ("/nothing", 404), ("/channels", 304)):
        answer = open_door.client.simulate_get(
            path, headers={"Origin": PARTNER, "If-None-Match": tag}
        )
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == PARTNER
        assert "Origin" in answer.headers["Vary"]


def test_an_answer_varies_by_origin_for_every_origin(open_door: Door) -> None:
    """A cache that kept an answer for one origin would give it to another."""
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": PARTNER}):
        answer = open_door.client.simulate_get("/channels", headers=headers)
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://partner.example.evil.example", "*", ""]
)
def test_no_other_origin_reads_anything(open_door: Door, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        answer = open_door.client.simulate_request(
            method,
            "/articles",
            headers={"Origin": origin, "Access-Control-Request-Method": "DELETE"},
        )
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]


def test_without_the_setting_no_origin_reads_anything(door: Door) -> None:
    for method in ("GET", "OPTIONS"):
        answer = door.client.simulate_request(
            method,
            "/channels",
            headers={"Origin": PARTNER, "Access-Control-Request-Method": "GET"},
        )
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" not in answer.headers["Vary"]


def test_a_listed_origin_is_told_in_advance_what_it_may_send(open_door: Door) -> None:
    answer = open_door.client.simulate_options(
        "/orders",
        headers={
            "Origin": PARTNER,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, idempotency-key",
        },
    )

    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == PARTNER
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "idempotency-key" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert not answer.cookies


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_and_no_field_renames_the_method(door: Door, header: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", header: "DELETE"}
    answer = door.client.simulate_post("/orders/1", headers=form, body=b"_method=DELETE")
    read = door.client.simulate_get("/orders/1", headers={header: "DELETE"})

    assert answer.status_code == 405
    assert read.status_code == 404


@pytest.mark.parametrize(
    "bad",
    [
        "*",
        "null",
        "partner.example",
        "https://partner.example/",
        "https://PARTNER.example",
        "ftp://partner.example",
        "https://*.partner.example",
        "https://user@partner.example",
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(make_settings: MakeSettings, bad: str) -> None:
    with pytest.raises(SettingsError, match="TIDINGS_GATEWAY_ALLOWED_ORIGINS"):
        make_settings(gateway_allowed_origins=bad)


def test_origins_are_set_as_a_list(make_settings: MakeSettings) -> None:
    given = "https://a.example, http://127.0.0.1:3000,https://[::1]:8443"

    assert make_settings(gateway_allowed_origins=given).gateway.allowed_origins == (
        "https://a.example",
        "http://127.0.0.1:3000",
        "https://[::1]:8443",
    )


def _named(headers: dict[str, str]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("settings", "origins"),
    [
        (
            {"gateway_bind": "127.0.0.1:8000"},
            {"http://127.0.0.1:8000", "http://localhost:8000"},
        ),
        (
            {"site_url": "https://news.example", "gateway_bind": "unix:/run/gateway"},
            {"https://news.example"},
        ),
        (
            {"site_url": "https://news.example/all", "gateway_bind": "[::1]:8000"},
            {"https://news.example", "http://[::1]:8000", "http://localhost:8000"},
        ),
        (
            {
                "gateway_bind": "192.0.2.7:80",
                "gateway_allowed_origins": (PARTNER,),
                "chat_allowed_origins": ("https://desk.example",),
            },
            {
                "http://127.0.0.1:8000",
                "http://192.0.2.7:80",
                PARTNER,
                "https://desk.example",
            },
        ),
    ],
    ids=["as it comes", "behind a proxy", "IPv6", "with others"],
)
def test_the_chat_is_used_by_pages_of_the_site_and_of_listed_origins(
    make_settings: MakeSettings, settings: dict[str, Any], origins: set[str]
) -> None:
    assert set(find_chat_origins(make_settings(**settings))) == origins
