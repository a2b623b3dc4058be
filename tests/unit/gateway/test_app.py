"""What every answer has, what the door says of itself, and the pages it carries."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from typing import Any
from unittest.mock import MagicMock

import pytest
import structlog
from falcon.inspect import inspect_app
from prometheus_client import REGISTRY
from redis import Redis
from sqlalchemy import Engine

from gateway.resources.site import site_routes
from tests.unit.gateway.doors import ADDRESS, DEADLINE_MS, READER_ID, Door, make_door
from tidings.http.pages import read_pages
from tidings.process.deadline import current_deadline

PAGES = (
    "/",
    "/docs",
    "/openapi.json",
    *(f"/static/{name}" for name in read_pages() if not name.endswith(".html")),
)
SITE = site_routes(MagicMock(), MagicMock(), MagicMock())


def test_a_well_formed_request_id_is_taken_over(door: Door) -> None:
    answer = door.client.simulate_get("/channels", headers={"X-Request-Id": "abc-123_X"})

    assert answer.headers["X-Request-Id"] == "abc-123_X"


@pytest.mark.parametrize("bad", ["x" * 65, "a b", "*/ DROP TABLE", "ü"])
def test_any_other_request_id_is_replaced(door: Door, bad: str) -> None:
    answer = door.client.simulate_get("/channels", headers={"X-Request-Id": bad})

    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-Id"])


def test_channels_are_listed_for_you_first(door: Door) -> None:
    door.newsroom.channels(3, 1)

    answer = door.client.simulate_get("/channels")

    assert [channel["channel_id"] for channel in answer.json["results"]] == [0, 1, 3]
    assert set(answer.json["results"][0]) == {"channel_id", "slug", "name"}


def test_a_whole_article_is_answered_and_may_not_be_kept_without_asking(door: Door) -> None:
    door.newsroom.channels(1)
    article_id = door.newsroom.article(body="<p>All of it.</p>")

    answer = door.client.simulate_get(f"/articles/{article_id}")

    assert answer.json["body"] == "<p>All of it.</p>"
    assert answer.json["article_id"] == article_id
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_feed_is_for_one_reader_and_kept_by_no_cache(door: Door) -> None:
    door.newsroom.channels(1)

    assert door.get("/articles").headers["Cache-Control"] == "private, no-store"


def test_a_request_has_its_deadline_and_leaves_none_behind(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.newsroom.channels(1)
    seen = []
    feed = door.recommending.feed

    def watch(*args: int, **named: Any) -> object:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.remaining_ms())
        return feed(*args, **named)

    monkeypatch.setattr(door.recommending, "feed", watch)
    door.get("/articles")

    assert DEADLINE_MS / 2 < seen[0] <= DEADLINE_MS
    assert current_deadline() is None
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_the_wait_for_a_free_thread_is_part_of_the_time_of_a_request(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.newsroom.channels(1)
    door.recommends([])
    left_ms = []
    feed = door.recommending.feed

    def watch(*args: int, **named: Any) -> object:
        deadline = current_deadline()
        assert deadline is not None
        left_ms.append(deadline.remaining_ms())
        return feed(*args, **named)

    monkeypatch.setattr(door.recommending, "feed", watch)
    with structlog.testing.capture_logs() as lines:
        door.client.simulate_get("/articles", extras={"tidings.readable_s": time.monotonic() - 1.5})

    assert left_ms[0] <= DEADLINE_MS - 1500
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["duration_ms"] >= line["queue_ms"] >= 1500


def test_nothing_is_begun_for_a_request_whose_time_is_over(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(door.recommending, "feed", lambda *args, **_: asked.append(args))

    answer = door.client.simulate_get(
        "/articles", extras={"tidings.readable_s": time.monotonic() - 60}
    )

    assert (answer.status_code, answer.json["type"]) == (503, "/docs#out-of-time")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["X-Request-Id"] == answer.json["request_id"]
    assert asked == []


def test_the_log_has_the_address_of_those_that_are_turned_away_and_of_no_others(
    door: Door,
) -> None:
    door.newsroom.channels(1)
    evil = {"Sec-Fetch-Site": "cross-site"}
    with structlog.testing.capture_logs() as lines:
        door.get("/articles")
        door.get("/articles/1000")
        door.get("/articles", headers={"Authorization": "Bearer none"})
        door.client.simulate_delete("/orders/1", headers=evil, remote_addr=ADDRESS)

    told = [(line["status"], line.get("address")) for line in lines if line["event"] == "request"]
    assert told == [(200, None), (404, None), (401, ADDRESS), (403, ADDRESS)]


def test_each_request_is_one_line_with_all_that_is_known(door: Door) -> None:
    door.newsroom.channels(1)
    door.recommends(door.newsroom.articles(2))

    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as lines:
        door.get("/articles?article_num=2", query_string=None)

    (line,) = [line for line in lines if line["event"] == "request"]
    assert line.pop("duration_ms") >= line.pop("queue_ms") >= 0
    assert line.pop("request_id")
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/articles",
        "status": 200,
        "reader_id": READER_ID,
        "served_from": "personal",
    }


def test_a_refused_request_says_why_in_its_line(door: Door) -> None:
    with structlog.testing.capture_logs() as lines:
        door.get("/articles?article_num=0")

    assert [(line["status"], line["problem"]) for line in lines] == [(422, "invalid-request")]


def test_requests_are_counted_by_template_and_not_by_path(door: Door) -> None:
    """A label for every path that robots try would be a metric for each of them."""

    def count(route: str, status: str) -> float:
        labels = {"route": route, "method": "GET", "status": status}
        return REGISTRY.get_sample_value("tidings_http_requests_total", labels) or 0.0

    unrouted, missing = count("(none)", "404"), count("/articles/{article_id}", "404")

    door.get("/wp-admin.php")
    door.get("/articles/12345")

    assert count("(none)", "404") == unrouted + 1
    assert count("/articles/{article_id}", "404") == missing + 1


def test_health_is_about_this_process(engine: Engine, dead_redis: Redis) -> None:
    ready = [True]
    door = make_door(engine, dead_redis, is_ready=lambda: ready[0])

    assert door.client.simulate_get("/health/live").json == {"status": "ok"}
    assert door.client.simulate_get("/health/ready").status_code == 200
    ready[0] = False
    assert door.client.simulate_get("/health/ready").status_code == 503


def test_every_route_for_programs_is_described(door: Door) -> None:
    described = door.client.simulate_get("/openapi.json").json["paths"]

    for route in inspect_app(door.client.app).routes:
        if route.path in (*PAGES, *SITE):
            continue
        methods = {method.method.lower() for method in route.methods if not method.internal}
        assert set(described[route.path]) == methods - {"head"}, route.path


def test_the_description_refers_to_nothing_it_does_not_contain(door: Door) -> None:
    description = door.client.simulate_get("/openapi.json").json

    for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(description)):
        assert name in description["components"]["schemas"]


def test_the_docs_show_every_route_and_every_problem(door: Door) -> None:
    docs = door.client.simulate_get("/docs").text

    for path in door.client.simulate_get("/openapi.json").json["paths"]:
        assert path in docs
    assert "needs a key of the role operator" in docs
    for slug in ("unknown-article", "invalid-request", "backlog-full"):
        assert f'id="{slug}"' in docs


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_asked_for_with_get_and_head_and_revalidated(door: Door, path: str) -> None:
    answer = door.client.simulate_get(path)
    head = door.client.simulate_head(path)

    assert answer.status_code == head.status_code == 200
    assert head.text == ""
    assert head.headers["Content-Length"] == str(len(answer.content))
    if path != "/openapi.json":
        unchanged = door.client.simulate_get(
            path, headers={"If-None-Match": answer.headers["ETag"]}
        )
        assert (unchanged.status_code, unchanged.text) == (304, "")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_needs_no_other_host_and_no_inline_script(door: Door, path: str) -> None:
    """The content policy would block them, so they must not be there."""

    class Finder(HTMLParser):
        found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if (
                    name.startswith("on")
                    or name == "style"
                    or (value or "").startswith(("http:", "https:", "//"))
                ):
                    self.found.append(f"{tag} {name}={value}")
            if tag in ("style", "base") or (tag == "script" and "src" not in dict(attrs)):
                self.found.append(tag)

    finder = Finder()
    finder.feed(door.client.simulate_get(path).text)

    assert finder.found == []


def test_without_redis_and_recommender_the_newest_are_served(door: Door) -> None:
    """The site stands on the database alone; nothing but the plainness of the page tells the
    reader."""
    door.newsroom.channels(1, 2)
    ids = door.newsroom.articles(12)
    door.recommender.fails_with(ConnectionError("gone"))

    answer = door.get("/articles?channel_id=1")

    assert answer.status_code == 200
    assert answer.json["served_from"] == "latest"
    assert [card["article_id"] for card in answer.json["results"]] == ids[:10]
    assert (answer.json["exposure"], answer.json["pre_timestamp"]) == ("", 0)


def test_with_the_database_gone_as_well_it_is_503_with_when_to_come_back(door: Door) -> None:
    door.newsroom.channels(1)
    door.newsroom.article()
    door.client.simulate_get("/channels")
    door.recommender.fails_with(ConnectionError("gone"))
    with door.newsroom.engine.connect() as conn:
        conn.exec_driver_sql("DROP TABLE article_count")
        conn.commit()

    answer = door.get("/articles")

    assert answer.status_code == 503
    assert answer.json["type"] == "/docs#nothing-to-serve"
    assert int(answer.headers["Retry-After"]) > 0
