"""The job that asks the sources that are due: each in its own time, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from unittest.mock import Mock

import pytest
from redis import Redis
from sqlalchemy import Engine, select, update

from jobs.static.context import Context, JobFailedError, Run
from jobs.static.runs import read_now
from jobs.work import sources
from tests.lab.web import Web, serve_web
from tidings.importing import visiting
from tidings.news.tables import article
from tidings.process.errors import CannotStartError
from tidings.sources.records import Source, SourceRun, find_runs, find_sources
from tidings.sources.registry import ensure_feed, follow_list, pause, remove, resume
from tidings.sources.schedule import claim, find_due, prune_runs
from tidings.sources.tables import source
from tidings.store.engine import transaction

Ask = Callable[..., str]
HOUR = timedelta(hours=1)


def feed(*guids: str, title: str = "Sea", link: str = "https://sea.example.org") -> str:
    items = "".join(
        f"<item><guid>{guid}</guid><title>About {guid}</title><link>{link}/{guid}</link>"
        f"<description>Words on {guid}.</description></item>"
        for guid in guids
    )
    return f"<rss version='2.0'><channel><title>{title}</title>{items}</channel></rss>"


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """All servers of these tests are on this machine, and want no rest."""
    monkeypatch.setattr(sources, "REST_S", 0.0)


@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web("0.0.0.0") as served:
        yield served


@pytest.fixture
def ask(engine: Engine, redis_client: Redis, make_settings: Any) -> Ask:
    """Run the job once, with these settings."""

    def ask_(**values: Any) -> str:
        url = engine.url.render_as_string(hide_password=False)
        settings = make_settings(**{"database_url": url, "fetch_private_addresses": True, **values})
        with engine.connect() as conn:
            now = read_now(conn)
        return sources.ask_sources(Run(Context(engine, redis_client, settings, "me"), now, now))

    return ask_


def add(engine: Engine, *addresses: str) -> list[int]:
    with transaction(engine) as conn:
        return [ensure_feed(conn, address, added_by="shell:test") for address in addresses]


def make_due(engine: Engine) -> None:
    with transaction(engine) as conn:
        conn.execute(
            update(source).where(source.c.due_at.is_not(None)).values(due_at=read_now(conn))
        )


def known(engine: Engine) -> dict[str, Source]:
    """Address → source, for those that are asked."""
    with engine.connect() as conn:
        return {one.address: one for one in find_sources(conn, limit=100) if one.address}


def last_run(engine: Engine, source_id: int) -> SourceRun:
    with engine.connect() as conn:
        return find_runs(conn, source_id, limit=1)[0]


def titles(engine: Engine) -> list[str]:
    with engine.connect() as conn:
        return sorted(conn.scalars(select(article.c.title)))


def answer_status(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def test_what_is_due_is_asked_and_what_is_not_is_left_alone(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """A second run at once asks nothing; an hour later it is the source's turn again."""
    web.serve("/feed", feed("1", "2"))
    (source_id,) = add(engine, web.url("/feed"))
    assert "1 sources: 1 changed; 2 rows: 2 new" in ask()
    assert ask() == "no source is due"
    run = last_run(engine, source_id)
    assert (run.outcome, run.created, run.error) == ("changed", 2, None)
    one = known(engine)[web.url("/feed")]
    assert one.title == "Sea"
    assert one.due_at is not None
    assert 0.89 * HOUR < one.due_at - run.at < 1.11 * HOUR


def test_what_has_not_changed_is_not_sent_again(web: Web, engine: Engine, ask: Ask) -> None:
    """The source is asked with the marks of what it sent last."""
    asked: list[dict[str, str]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(dict(request.headers))
        if request.headers.get("If-None-Match") == '"one"':
            answer_status(304)(request)
            return
        body = feed("1").encode()
        request.send_response(200)
        request.send_header("ETag", '"one"')
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    web.answers["/feed"] = answer
    (source_id,) = add(engine, web.url("/feed"))
    ask()
    for _ in range(2):
        make_due(engine)
        ask()
        run = last_run(engine, source_id)
        assert (run.outcome, run.created, run.unchanged) == ("unchanged", 0, 0)
    assert len(asked) == 3


def test_ten_that_fail_keep_no_other_waiting(web: Web, engine: Engine, ask: Ask) -> None:
    """In ten ways; one of them answers only when the twenty good ones are in."""
    good = {f"/good{n}": feed(f"g{n}") for n in range(20)}
    answered: set[str] = set()
    all_in = threading.Event()

    def serve_good(path: str, body: str) -> None:
        web.serve(path, body)
        plain = web.answers[path]

        def answer(request: BaseHTTPRequestHandler) -> None:
            plain(request)
            answered.add(path)
            if len(answered) == len(good):
                all_in.set()

        web.answers[path] = answer

    for path, body in good.items():
        serve_good(path, body)

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"<rss")
        request.wfile.flush()
        assert all_in.wait(60)

    web.answers |= {
        "/bad0": drip,
        "/bad1": answer_status(404),
        "/bad2": answer_status(500),
        "/bad3": answer_status(429, Retry_After="7200"),
        "/bad4": answer_status(410),
    }
    web.serve("/bad5", "<html><body>Sorry.</body></html>")
    web.serve("/bad6", '{"title": "A", "body": "B", "channel": "c"}')
    web.serve("/bad7", f"<opml><body><outline xmlUrl='{web.url('/hidden')}'/></body></opml>")
    web.redirect("/bad8", web.url("/bad8"))
    web.serve("/bad9", b"\x1f\x8b damaged", "application/gzip")
    bad = [f"/bad{n}" for n in range(10)]
    # Each on a name of its own, as if they were as many hosts.
    with transaction(engine) as conn:
        for n, path in enumerate([*bad, *good]):
            address = f"http://127.0.0.{n + 1}:{web.port}{path}"
            ensure_feed(conn, address, added_by="shell:test")

    said = ask()

    assert said.startswith("30 sources: 20 changed, 9 failed, 1 gone; 20 rows: 20 new")
    for n, path in enumerate(bad):
        assert f"http://127.0.0.{n + 1}:{web.port}{path}: " in said
    assert len(titles(engine)) == 20
    assert "/hidden" not in web.asked


def test_many_of_one_host_hide_no_other(
    web: Web, engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few are looked at: while one of the host is asked, its others are passed over."""
    monkeypatch.setattr(sources, "MOST_DUE", 2)
    other = threading.Event()
    plain = answer_status(404)

    def wait_for_other(request: BaseHTTPRequestHandler) -> None:
        assert other.wait(60)
        plain(request)

    def answer_other(request: BaseHTTPRequestHandler) -> None:
        other.set()
        plain(request)

    many = [f"/many{n}" for n in range(4)]
    web.answers |= dict.fromkeys(many, wait_for_other) | {"/other": answer_other}
    add(engine, *map(web.url, many), web.url("/other").replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(JobFailedError, match="5 sources: 5 failed"):
        ask()
    # The two are asked at once.
    assert sorted(web.asked[:2]) == ["/many0", "/other"]


def test_a_run_fails_if_all_failed(web: Web, engine: Engine, ask: Ask) -> None:
    """With what each of them answered."""
    add(engine, web.url("/a"), web.url("/b"))
    with pytest.raises(JobFailedError) as failed:
        ask()
    assert "every source failed: 2 sources: 2 failed" in str(failed.value)
    assert f"{web.url('/a')}: 404 Not Found" in str(failed.value)


def test_pauses_grow_with_each_failure_and_end_with_success(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """Doubled each time, never longer than a day."""
    address = web.url("/feed")
    (source_id,) = add(engine, address)
    pauses = []
    for _ in range(6):
        make_due(engine)
        with pytest.raises(JobFailedError):
            ask()
        due_at = known(engine)[address].due_at
        assert due_at is not None
        pauses.append((due_at - last_run(engine, source_id).at) / HOUR)
    for pause_, hours in zip(pauses, (2, 4, 8, 16, 24, 24), strict=True):
        assert 0.89 * hours < pause_ < min(1.11 * hours, 24.01)
    web.serve("/feed", feed("1"))
    make_due(engine)
    ask()
    assert known(engine)[address].failures == 0


def test_a_source_that_wants_to_be_left_alone_is(web: Web, engine: Engine, ask: Ask) -> None:
    """As long as it says, and no longer than a day."""
    for path, seconds in (("/a", "20000"), ("/b", "99999999")):
        web.answers[path] = answer_status(503, Retry_After=seconds)
    ids = add(engine, web.url("/a"), web.url("/b"))
    with pytest.raises(JobFailedError):
        ask()
    for source_id, path, pause_s in zip(ids, ("/a", "/b"), (20_000, 86_400), strict=True):
        due_at = known(engine)[web.url(path)].due_at
        assert due_at is not None
        assert (due_at - last_run(engine, source_id).at).total_seconds() == pause_s


def test_what_says_that_it_is_gone_is_asked_no_more(web: Web, engine: Engine, ask: Ask) -> None:
    """Until an operator resumes it."""
    web.answers["/feed"] = answer_status(410)
    (source_id,) = add(engine, web.url("/feed"))
    with pytest.raises(JobFailedError):
        ask()
    assert known(engine)[web.url("/feed")].state == "gone"
    make_due(engine)
    assert ask() == "no source is due"
    with transaction(engine) as conn:
        assert resume(conn, source_id, added_by="shell:test")
    web.serve("/feed", feed("1"))
    ask()
    assert titles(engine) == ["About 1"]


def test_a_move_for_good_is_believed_at_the_third_time(web: Web, engine: Engine, ask: Ask) -> None:
    """And its articles stay its own."""
    web.serve("/new", feed("1"))
    web.redirect("/old", web.url("/new"), 301)
    web.redirect("/elsewhere", web.url("/new"), 302)
    old, other = add(engine, web.url("/old"), web.url("/elsewhere"))
    for _ in range(3):
        assert {web.url("/old"), web.url("/elsewhere")} == set(known(engine))
        make_due(engine)
        ask()
    assert {web.url("/new"), web.url("/elsewhere")} == set(known(engine))
    assert last_run(engine, old).reasons == (f"moved for good to {web.url('/new')}",)
    assert last_run(engine, other).reasons == ()
    assert len(titles(engine)) == 2


def test_the_setting_makes_sources_and_what_leaves_it_is_asked_no_more(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """Its articles stay; what an operator paused stays paused; a comma may be in an address."""
    first, second = web.url("/a?x=1,2"), web.url("/b")
    web.serve("/a?x=1,2", feed("a"))
    web.serve("/b", feed("b"))
    ask(feed_urls=f"{first}, {second}")
    assert titles(engine) == ["About a", "About b"]
    ask(feed_urls=first)
    assert known(engine)[second].state == "unlisted"
    ask(feed_urls=f"{first},{second}")
    assert known(engine)[second].state == "active"
    with transaction(engine) as conn:
        pause(conn, known(engine)[second].source_id)
    ask(feed_urls=f"{first},{second}")
    assert known(engine)[second].state == "paused"
    assert titles(engine) == ["About a", "About b"]


def test_a_feed_that_is_listed_where_it_moved_to_goes_on(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """It is the same source, by either of its two addresses."""
    web.serve("/new", feed("1"))
    old = web.redirect("/old", web.url("/new"), 301)
    for _ in range(3):
        ask(feed_urls=old)
        make_due(engine)
    for _ in range(3):
        ask(feed_urls=web.url("/new"))
        assert known(engine)[web.url("/new")].state == "active"


def test_a_feed_that_was_brought_in_once_is_followed_when_it_is_listed(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """As the same source; what another lists already stays as it is."""
    address = web.serve("/feed", feed("1"))
    with transaction(engine) as conn:
        once = ensure_feed(conn, address, added_by="shell:test", state="unlisted")
    assert ask() == "no source is due"
    ask(feed_urls=address)
    assert [(one.source_id, one.state) for one in known(engine).values()] == [(once, "active")]
    with transaction(engine) as conn:
        assert follow_list(conn, {address: None}, added_by="list:9") == (0, 0)


def test_a_list_of_the_setting_is_followed(web: Web, engine: Engine, ask: Ask) -> None:
    """Its feeds are sources, in the channel of their folder; what leaves the list is asked no
    more."""

    def write(*paths: str) -> None:
        outlines = "".join(f"<outline text='f' xmlUrl='{web.url(path)}'/>" for path in paths)
        web.serve(
            "/my.opml", f"<opml><body><outline text='Coast'>{outlines}</outline></body></opml>"
        )

    for path in ("/a", "/b"):
        web.serve(path, feed(path[1:]))
    write("/a", "/b")
    ask(feed_urls=web.url("/my.opml"))
    assert titles(engine) == ["About a", "About b"]
    write("/b")
    make_due(engine)
    ask(feed_urls=web.url("/my.opml"))
    states = {address: one.state for address, one in known(engine).items()}
    assert states[web.url("/a")] == "unlisted"
    assert states[web.url("/b")] == "active"


def test_two_daemons_never_ask_one_source_at_once(engine: Engine) -> None:
    """Who claims second has seen a moment that is over."""
    add(engine, "https://sea.example.org/feed")
    with transaction(engine) as conn:
        now = read_now(conn)
        (due,) = find_due(conn, now, limit=10)
        assert [claim(conn, due, now), claim(conn, due, now)] == [True, False]
        assert find_due(conn, now, limit=10) == []
        assert len(find_due(conn, now + HOUR, limit=10)) == 1


def test_what_was_removed_and_added_again_is_the_same_source(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """Its articles are not doubled."""
    web.serve("/feed", feed("1"))
    (source_id,) = add(engine, web.url("/feed"))
    ask()
    with transaction(engine) as conn:
        remove(conn, source_id)
    assert known(engine) == {}
    make_due(engine)
    assert ask() == "no source is due"
    assert add(engine, web.url("/feed")) == [source_id]
    ask()
    assert titles(engine) == ["About 1"]


def test_of_a_long_feed_the_newest_are_taken_and_that_is_said(
    web: Web, engine: Engine, ask: Ask
) -> None:
    """Whichever end they stand at."""
    items = "".join(
        f"<item><guid>{n}</guid><title>{n}</title><description>d</description>"
        f"<pubDate>Sun, {n % 28 + 1:02} Feb 2026 10:00:00 GMT</pubDate></item>"
        for n in range(28)
    )
    web.serve("/feed", f"<rss version='2.0'><channel><title>T</title>{items}</channel></rss>")
    (source_id,) = add(engine, web.url("/feed"))
    ask(feed_entries=3)
    assert titles(engine) == ["25", "26", "27"]
    assert last_run(engine, source_id).reasons == ("28 entries, of which the newest 3 were taken",)


def test_a_feed_that_breaks_something_of_ours_stops_no_other(
    web: Web, engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is told as one that failed."""
    web.serve("/a", feed("a"))
    web.serve("/b", feed("b"))
    add(engine, web.url("/a"), web.url("/b"))
    plain = visiting.visit

    def break_(of: Source, *rest: Any, **named: Any) -> Any:
        if of.address == web.url("/a"):
            raise RuntimeError("a fault of ours")
        return plain(of, *rest, **named)

    monkeypatch.setattr(sources, "visit", break_)
    assert "1 changed, 1 failed" in ask()
    assert titles(engine) == ["About b"]
    assert known(engine)[web.url("/a")].failures == 1


@pytest.mark.parametrize("fault", [ValueError("of ours"), OSError("of ours")], ids=repr)
def test_a_fault_of_ours_is_not_told_as_the_sources(
    web: Web, engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Or it would be looked for in the feed."""
    web.serve("/feed", feed("1"))
    (source_id,) = add(engine, web.url("/feed"))
    monkeypatch.setattr(visiting, "make_feed_origin", Mock(side_effect=fault))
    with pytest.raises(JobFailedError):
        ask()
    assert last_run(engine, source_id).error == f"a fault on this side: {fault!r}"


def test_records_of_looks_are_kept_for_a_while(web: Web, engine: Engine, ask: Ask) -> None:
    """And no longer."""
    web.serve("/feed", feed("1"))
    (source_id,) = add(engine, web.url("/feed"))
    ask()
    at = last_run(engine, source_id).at
    with transaction(engine) as conn:
        assert prune_runs(conn, at) == 0
        assert prune_runs(conn, at + HOUR) == 1
        assert find_runs(conn, source_id, limit=1) == []


def test_what_is_no_address_is_refused_before_the_daemon_starts(ask: Ask) -> None:
    """A file of the machine is none of its feeds."""
    with pytest.raises(CannotStartError, match="FEED_URLS: expected http and https addresses"):
        ask(feed_urls="/srv/feed.xml")
