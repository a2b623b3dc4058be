"""What clients, browsers and caches see of answers, over the network and through gunicorn."""

from __future__ import annotations

import gzip
import http.client
import json
from urllib.parse import urlsplit

import pytest

from tests.lab.sites import Site


def ask(
    site: Site, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=60)
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path", ["/", "/articles", "/articles/1", "/channels", "/static/reader.js"]
)
def test_head_is_answered_without_a_body_and_the_connection_goes_on(site: Site, path: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=60)
    for method in ("HEAD", "GET", "HEAD"):
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.status == 200
        assert bool(answer.read()) == (method == "GET")
    connection.close()


def test_a_server_says_what_it_takes(site: Site) -> None:
    for path, methods in (("*", {"GET", "POST", "OPTIONS"}), ("/articles", {"GET", "HEAD"})):
        answer, body = ask(site, "OPTIONS", path)

        assert answer.status in (200, 204)
        assert methods <= set(answer.headers["Allow"].split(", "))
        assert body == b""
        assert answer.headers["X-Request-Id"]
        assert "Set-Cookie" not in answer.headers


def test_a_feed_travels_packed_and_is_for_one_reader(site: Site) -> None:
    answer, body = ask(site, "GET", "/articles", Accept_Encoding="gzip, br")

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Length"] == str(len(body))
    assert len(json.loads(gzip.decompress(body))["results"]) == 10
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert {"Cookie", "X-Reader"} <= set(answer.headers["Vary"].split(", "))


def test_what_is_the_same_for_all_travels_once(site: Site) -> None:
    for path in ("/channels", "/articles/1", "/products", "/openapi.json", "/static/reader.js"):
        first, _ = ask(site, "GET", path, Accept_Encoding="gzip")
        again, body = ask(
            site, "GET", path, Accept_Encoding="gzip", If_None_Match=first.headers["ETag"] or ""
        )

        assert (again.status, body) == (304, b""), path
        assert again.headers["Cache-Control"] == "no-cache"


def test_over_https_the_cookie_is_bound_to_this_host(site: Site) -> None:
    """A proxy on this machine is believed about how the reader came."""
    answer, _ = ask(site, "GET", "/articles", X_Forwarded_Proto="https")

    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-tidings_reader=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "domain" not in cookie.lower()


def test_a_page_of_another_site_pays_no_order(site: Site) -> None:
    mine, _ = ask(site, "GET", "/articles")
    cookie = mine.headers["Set-Cookie"].partition(";")[0]
    form = {"Content_Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    foreign = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}

    refused, body = ask(site, "POST", "/orders/1/payment", "a=b", **form, **foreign)
    own, _ = ask(site, "POST", "/orders/1/payment", "a=b", **form, Sec_Fetch_Site="same-origin")

    assert refused.status == 403
    assert json.loads(body)["type"] == "/docs#foreign-write"
    assert own.status == 404


def test_a_page_may_run_no_script_but_the_sites_own(site: Site) -> None:
    for path in ("/", "/docs", "/static/icon.svg"):
        answer, _ = ask(site, "GET", path)
        policy = answer.headers["Content-Security-Policy"]

        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in answer.headers  # the proxy that ends TLS says it
