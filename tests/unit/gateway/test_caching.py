"""What caches may keep: no answer with a reader in it, and what is the same for all only as long as
it is asked for again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import falcon
import pytest
import structlog
from falcon import testing
from falcon.inspect import inspect_app

from tests.unit.gateway.doors import READER_ID, Door
from tidings.http.caching import SAME_FOR_ALL
from tidings.http.pages import read_pages
from tidings.readers.keys import Role

CHOSEN_BY = {"Cookie", "X-Reader", "Authorization"}
SAME = (
    "/channels",
    "/channels/1",
    "/articles/1",
    "/articles/1/similar",
    "/products",
    "/docs",
    "/openapi.json",
    *(f"/static/{name}" for name in read_pages() if not name.endswith(".html")),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def stocked(door: Door) -> Door:
    """A door with a channel, and an article 1 that is long enough to be packed."""
    door.newsroom.channels(1)
    assert door.newsroom.article(body="<p>Tide tables.</p>" * 200) == 1
    return door


def requests(door: Door) -> Iterator[tuple[str, str]]:
    """A method and a path for all that the app answers."""
    for route in inspect_app(door.client.app).routes:
        path = route.path.replace("{", "").replace("}", "").replace("_id", "")
        path = "/".join(
            "1" if part in ("article", "author", "channel", "order") else part
            for part in path.split("/")
        )
        yield from ((method, path) for method in METHODS)


def shown_to_all(door: Door) -> list[str]:
    """The requests whose answers have a reader in them and may be shown to others."""
    found = set()
    signed = door.signer.sign(READER_ID)
    key = door.make_key(Role.OPERATOR)
    for method, path in requests(door):
        for headers in ({"X-Reader": signed}, {}, key):
            with structlog.testing.capture_logs() as lines:
                answer = door.client.simulate_request(method, path, headers=headers)
            has_reader = any(line.get("reader_id") for line in lines)
            if has_reader or answer.cookies or "X-Reader" in answer.headers:
                is_private = answer.headers["Cache-Control"].startswith("private")
                if not is_private or not varies(answer) >= CHOSEN_BY:
                    found.add(f"{method} {path}")
    return sorted(found)


def varies(answer: testing.Result) -> set[str]:
    return set(answer.headers["Vary"].split(", "))


def test_no_answer_with_a_reader_in_it_may_be_shown_to_others(stocked: Door) -> None:
    assert shown_to_all(stocked) == []


def test_a_route_that_forgets_it_is_private_all_the_same(stocked: Door) -> None:
    class Forgetful:
        needs_reader = True
        caching = SAME_FOR_ALL

        def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
            resp.text = str(req.context.reader_id)

    class Finding:
        """It finds the reader by itself."""

        caching = SAME_FOR_ALL

        def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
            req.context.reader_id = 7
            resp.text = "7"

    stocked.client.app.add_route("/forgetful", Forgetful())
    stocked.client.app.add_route("/finding", Finding())

    assert shown_to_all(stocked) == []
    for path in ("/forgetful", "/finding"):
        answer = stocked.client.simulate_get(path)
        assert answer.headers["Cache-Control"].startswith("private")


def test_a_route_that_goes_round_the_law_is_found(stocked: Door) -> None:
    class Leaking:
        caching = SAME_FOR_ALL

        def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
            resp.set_header("X-Reader", "7")

    stocked.client.app.add_route("/leaking", Leaking())

    assert shown_to_all(stocked) == ["GET /leaking"]


def test_a_program_with_a_key_asks_for_what_is_the_same_for_all_and_gets_304(stocked: Door) -> None:
    """The answer is private since its caller was told, and still the same."""
    key = stocked.make_key(Role.READER)
    first = stocked.client.simulate_get("/channels", headers=key)
    again = stocked.client.simulate_get(
        "/channels", headers={**key, "If-None-Match": first.headers["ETag"]}
    )

    assert first.headers["Cache-Control"] == "private, no-cache"
    assert varies(first) >= CHOSEN_BY
    assert again.status_code == 304


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_every_answer_says_what_caches_may_do(stocked: Door) -> None:
    for method, path in [*requests(stocked), ("GET", "/nothing"), ("WEBSOCKET", "/articles")]:
        answer = stocked.client.simulate_request(method, path)

        assert answer.headers["Cache-Control"], (method, path)
        assert "Accept-Encoding" in varies(answer), (method, path)


def test_only_what_is_the_same_for_all_may_be_kept_and_is_asked_for_again(stocked: Door) -> None:
    for method, path in requests(stocked):
        answer = stocked.client.simulate_request(method, path)
        may_be_kept = "no-store" not in answer.headers["Cache-Control"]

        if may_be_kept:
            assert (path in SAME) or path == "/", (method, path)
            assert "no-cache" in answer.headers["Cache-Control"]
            assert method in ("GET", "HEAD")
            assert answer.headers["ETag"].startswith('"')


@pytest.mark.parametrize("path", [*SAME, "/"])
def test_what_is_the_same_for_all_is_304_to_a_client_that_has_it(stocked: Door, path: str) -> None:
    tag = stocked.client.simulate_get(path).headers["ETag"]

    for known in (tag, f"W/{tag}", "*", f'"other", W/{tag}', f'W/"a,b" , {tag}'):
        for method in ("GET", "HEAD"):
            answer = stocked.client.simulate_request(method, path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b""), known
            assert answer.headers["ETag"] == tag
            assert answer.headers["Cache-Control"]
            assert answer.headers["Vary"]
            assert "Content-Type" not in answer.headers
            assert "Content-Encoding" not in answer.headers
    for other in ('"other"', "nonsense", '""', tag[:-2] + '"', ""):
        answer = stocked.client.simulate_get(path, headers={"If-None-Match": other})
        assert answer.status_code == 200, other


def test_an_article_that_changes_has_another_etag_and_one_that_goes_is_gone(stocked: Door) -> None:
    first = stocked.client.simulate_get("/articles/1").headers["ETag"]
    same = stocked.client.simulate_get("/articles/1").headers["ETag"]
    with stocked.newsroom.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE article SET title = 'Another'")
    changed = stocked.client.simulate_get("/articles/1", headers={"If-None-Match": first})
    with stocked.newsroom.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE article SET status = 'taken_down'")
    gone = stocked.client.simulate_get("/articles/1", headers={"If-None-Match": "*"})

    assert first == same
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first
    assert gone.status_code == 404
    assert gone.headers["Cache-Control"] == "no-store"
    assert "ETag" not in gone.headers


@pytest.mark.parametrize(
    "path", ["/articles/1", "/", "/docs", "/openapi.json", "/static/reader.js"]
)
def test_a_packed_answer_is_the_same_answer_under_its_own_etag(stocked: Door, path: str) -> None:
    plain = stocked.client.simulate_get(path)
    packed = stocked.client.simulate_get(path, headers={"Accept-Encoding": "br, gzip"})
    again = stocked.client.simulate_get(
        path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
    )
    other = stocked.client.simulate_get(path, headers={"If-None-Match": packed.headers["ETag"]})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Length"] == str(len(packed.content))
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 1.5
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert again.status_code == 304
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip ; q=1.000", True),
        ("*", True),
        ("*;q=0.1", True),
        ("identity;q=0.5, *;q=0.8", True),
        ("gzip;q=0.5, identity;q=0.5", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=nan", False),
        ("gzip;q=2", False),
        ("gzip;level=9", False),
        ("notgzip", False),
        ("gzip\u00e9", False),
    ],
)
def test_an_answer_is_packed_for_a_client_that_asks_for_it(
    stocked: Door, accepted: str, is_packed: bool
) -> None:
    answer = stocked.client.simulate_get("/articles/1", headers={"Accept-Encoding": accepted})

    assert (answer.headers.get("Content-Encoding") == "gzip") == is_packed
    assert answer.status_code == 200


def test_a_short_answer_is_packed_only_for_a_client_that_takes_no_other(stocked: Door) -> None:
    def coding(accepted: str) -> str | None:
        answer = stocked.client.simulate_get("/channels", headers={"Accept-Encoding": accepted})
        return answer.headers.get("Content-Encoding")

    assert len(stocked.client.simulate_get("/channels").content) < 1024
    assert coding("gzip") is None
    assert coding("gzip, identity;q=0") == "gzip"
    assert coding("gzip, *;q=0") == "gzip"
    assert coding("br, identity;q=0") is None


def test_a_feed_is_packed_too(stocked: Door) -> None:
    stocked.recommends(stocked.newsroom.articles(10))

    answer = stocked.get("/articles")
    packed = stocked.client.simulate_get("/articles", headers={"Accept-Encoding": "gzip"})

    assert len(json.loads(gzip.decompress(packed.content))["results"]) == 10
    assert answer.headers["Cache-Control"] == packed.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in packed.headers


def test_no_answer_with_tokens_repeats_what_was_asked(stocked: Door) -> None:
    """What guesses a secret from the length of packed answers needs its guess beside the secret."""
    stocked.recommends(stocked.newsroom.articles(3))
    guess = "GUESSGUESSGUESS"

    for path in ("/articles", "/articles/1/mine"):
        good = stocked.client.simulate_get(
            path, headers={"Referer": f"https://x/{guess}", "User-Agent": guess, "Accept": guess}
        )
        assert '"track"' in good.text
        assert guess not in good.text
        refused = stocked.client.simulate_get(path, params={guess: guess})
        assert guess in refused.text
        assert '"track"' not in refused.text


@pytest.mark.parametrize("path", ["/channels", "/articles/1", "/products", "/reader/likings", "/"])
def test_head_has_the_headers_of_get_and_no_body(stocked: Door, path: str) -> None:
    reader = {"X-Reader": stocked.signer.sign(READER_ID), "X-Request-Id": "same"}
    for accepted in ("gzip", "identity"):
        headers = {**reader, "Accept-Encoding": accepted}
        get = stocked.client.simulate_get(path, headers=headers)
        head = stocked.client.simulate_head(path, headers=headers)

        assert head.content == b""
        assert dict(head.headers) == dict(get.headers)


def test_head_of_a_feed_makes_no_batch(stocked: Door) -> None:
    """Its articles would be in the reader's history, and missing from later feeds."""
    signed = {"X-Reader": stocked.signer.sign(READER_ID), "X-Request-Id": "same"}

    head = stocked.client.simulate_head("/articles", headers=signed)
    wrong = stocked.client.simulate_head("/articles?article_num=0", headers=signed)

    assert stocked.recommender.requests == []
    get = stocked.client.simulate_get("/articles", headers=signed)
    assert dict(head.headers) | {"content-length": get.headers["Content-Length"]} == get.headers
    assert "Content-Length" not in head.headers
    assert wrong.status_code == 422


def test_every_path_that_answers_get_answers_head(stocked: Door) -> None:
    for route in inspect_app(stocked.client.app).routes:
        methods = {method.method for method in route.methods}

        assert ("GET" in methods) == ("HEAD" in methods), route.path
