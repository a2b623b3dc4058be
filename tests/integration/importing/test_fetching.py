"""Downloads from servers that are slow, endless, moved, gone or hostile."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import brotli
import psutil
import pytest

from tests.integration.importing.conftest import ANYWHERE
from tests.lab.web import Web
from tidings.importing import fetching
from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.fetching import Fetched, FetchError, fetch


def download(url: str, max_bytes: int = 1000, deadline_s: float = 60) -> bytes:
    target = io.BytesIO()
    fetch(url, target, max_bytes=max_bytes, deadline_s=deadline_s, rules=ANYWHERE)
    return target.getvalue()


def refusal(url: str, max_bytes: int = 1000, deadline_s: float = 60) -> str:
    with pytest.raises(FetchError) as caught:
        download(url, max_bytes, deadline_s)
    return str(caught.value)


def test_the_answer_is_written_with_its_type_and_address(web: Web) -> None:
    """After redirects, the address is the last one."""
    web.serve("/feed", "hello", "application/rss+xml; charset=utf-8")
    target = io.BytesIO()
    fetched = fetch(
        web.redirect("/old", "/feed", 301), target, max_bytes=5, deadline_s=10, rules=ANYWHERE
    )
    assert (fetched.url, fetched.content_type) == (
        web.url("/feed"),
        "application/rss+xml; charset=utf-8",
    )
    assert target.getvalue() == b"hello"


@pytest.mark.parametrize("status", [404, 500, 403])
def test_an_error_is_named_by_its_status(web: Web, status: int) -> None:
    """As the server put it."""
    web.answers["/x"] = lambda request: request.send_error(status)
    assert refusal(web.url("/x")).startswith(str(status))


def test_what_is_no_http_is_refused_in_one_short_line(web: Web) -> None:
    """Whatever was sent in place of a status is a part of the reason."""

    def say_no(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"no " * 5000 + b"\r\n\r\n")

    web.answers["/x"] = say_no
    reason = refusal(web.url("/x"))
    assert reason.startswith("no no")
    assert reason.isprintable()
    assert len(reason) <= 200


def test_redirects_have_an_end(web: Web) -> None:
    """A loop is found, and so is an endless chain."""
    assert "redirect" in refusal(web.redirect("/loop", "/loop"))
    for number in range(20):
        web.redirect(f"/{number}", f"/{number + 1}")
    assert "redirect" in refusal(web.url("/0"))
    assert len([path for path in web.asked if path != "/loop"]) <= fetching.MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "data:,x"]
)
def test_a_redirect_leads_to_http_only(web: Web, target: str) -> None:
    """Trap: urllib's usual opener follows to ftp, and opens file and data."""
    assert refusal(web.redirect("/x", target))


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x", "http://", "http://[::1", "x"]
)
def test_only_http_addresses_are_opened(url: str) -> None:
    """For every caller."""
    assert refusal(url)


def test_a_user_name_in_the_address_is_refused() -> None:
    """It would be taken for a part of the host."""
    assert refusal("http://me:secret@127.0.0.1/") == "a user name in the address is not supported"


def test_more_than_the_bound_is_not_stored(web: Web) -> None:
    """Whether or not the server says how much it will be."""
    assert refusal(web.serve("/large", b"x" * 1001)) == "more than 1000 bytes"

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 1000)

    web.answers["/endless"] = endless
    assert refusal(web.url("/endless"), max_bytes=10**6) == "more than 1000000 bytes"


def test_an_answer_cut_short_is_an_error(web: Web) -> None:
    """Trap: reading in pieces ends quietly where the connection did."""
    web.serve("/cut", b"x" * 50, Content_Length="100")
    assert refusal(web.url("/cut")) == "the connection ended 50 bytes early"


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips_is_cut_off_at_the_deadline(web: Web, part: str) -> None:
    """Trap: a time-out per read never ends for a server that sends a byte now and then."""
    gone = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if part == "head":
            request.flush_headers()
        else:
            request.end_headers()
        try:
            while not gone.wait(0.1):
                request.wfile.write(b"X-Drip: x\r\n" if part == "head" else b"x")
                request.wfile.flush()
        except OSError:
            gone.set()

    web.answers["/drip"] = drip
    try:
        # As a header line each, they would be too many one day; the deadline comes first.
        assert refusal(web.url("/drip"), deadline_s=0.5) == "took longer than 0.5 s"
        assert gone.wait(60)
    finally:
        gone.set()


def test_a_server_that_says_nothing_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the deadline, if nothing at all comes."""
    monkeypatch.setattr(fetching, "READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/") == "no answer within 0.2 s"


def test_what_cannot_be_reached_says_why() -> None:
    """In the system's words, without a traceback's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert refusal(f"http://127.0.0.1:{port}/") == "Connection refused"


def test_what_does_not_speak_http_is_an_error() -> None:
    """A port of something else."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            conn, _ = server.accept()
            with conn:
                conn.sendall(b"220 mail.example ESMTP\r\n")
                conn.recv(1000)

        thread = threading.Thread(target=greet)
        thread.start()
        assert "220 mail.example" in refusal(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(5)


def test_addresses_may_hold_spaces_and_letters_of_any_script(web: Web) -> None:
    """People paste them from a browser."""
    web.serve("/caf%C3%A9%20x?q=%E6%BC%A2", "hello")
    assert download(web.url("/café x?q=漢")) == b"hello"


def _pack_raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without its frame": ("deflate", _pack_raw),
    "br": ("br", brotli.compress),
}


@pytest.mark.parametrize("name", PACKED)
def test_the_packing_of_the_way_is_undone(web: Web, name: str) -> None:
    """In each of the ways that were asked for; `deflate` is sent by servers in two forms."""
    coding, pack = PACKED[name]
    assert download(web.serve("/x", pack(b"hello"), Content_Encoding=coding)) == b"hello"


@pytest.mark.parametrize("name", PACKED)
def test_the_bound_holds_for_what_is_unpacked(web: Web, name: str) -> None:
    """A few thousand bytes become ten million."""
    coding, pack = PACKED[name]
    url = web.serve("/bomb", pack(bytes(10**7)), Content_Encoding=coding)
    assert refusal(url, max_bytes=10**6) == "more than 1000000 bytes"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_what_is_not_packed_as_it_says_is_an_error(web: Web, coding: str) -> None:
    url = web.serve("/x", b"<rss>not packed at all</rss>", Content_Encoding=coding)
    assert refusal(url) == "the content is not packed as the server says"


def test_a_packed_file_stays_packed(web: Web) -> None:
    """A file's own packing is for the file's reader to undo."""
    data = gzip.compress(b"hello")
    assert download(web.serve("/x.gz", data, "application/gzip")) == data
    twice = gzip.compress(data)
    assert download(web.serve("/y.gz", twice, Content_Encoding="gzip")) == data


def answer_with(web: Web, path: str, status: int, *, body: bytes = b"", **headers: str) -> str:
    """Have `path` answered so, and return its URL; what was asked is in `web.headers`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        web.headers.append(dict(request.headers))
        request.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    web.answers[path] = answer
    return web.url(path)


def ask(url: str, **options: Any) -> Fetched:
    rules = options.pop("rules", ANYWHERE)
    return fetch(url, io.BytesIO(), max_bytes=1000, deadline_s=60, rules=rules, **options)


class TestConditions:
    """What is asked only if it has changed."""

    def test_what_has_not_changed_is_not_sent(self, web: Web) -> None:
        """The first answer's two marks are sent back as they came."""
        changed = "Fri, 27 Nov 2026 10:00:00 GMT"
        url = answer_with(web, "/x", 200, body=b"new", ETag='W/"v1"', Last_Modified=changed)
        first = ask(url)
        assert (first.status, first.etag, first.last_modified) == (200, 'W/"v1"', changed)
        assert not {"If-None-Match", "If-Modified-Since"} & set(web.headers[-1])

        answer_with(web, "/x", 304)
        target = io.BytesIO()
        again = fetch(
            url,
            target,
            max_bytes=10,
            deadline_s=10,
            etag=first.etag,
            last_modified=first.last_modified,
            rules=ANYWHERE,
        )
        assert (again.status, target.getvalue()) == (304, b"")
        assert web.headers[-1]["If-None-Match"] == 'W/"v1"'
        assert web.headers[-1]["If-Modified-Since"] == changed

    def test_a_304_to_a_plain_question_is_an_error(self, web: Web) -> None:
        """There is nothing here that could be the same."""
        with pytest.raises(FetchError, match="304"):
            ask(answer_with(web, "/x", 304))


class TestRetryAfter:
    """How long a server wants to be left alone."""

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("120", 120),
            (" 120 ", 120),
            ("0", 0),
            ("999999999999999999999", 86400),
            ("Fri, 27 Nov 2009 10:00:00 GMT", 0),
            ("Fri, 27 Nov 2099 10:00:00 GMT", 86400),
            ("Fri, 27 Nov 2099 10:00:00 -0000", 86400),
            ("Fri, 27 Nov 99999999999 10:00:00 GMT", None),
            ("Fri, 27 Nov 2026 10:00:00 -99999999999999999999", None),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
            ("", None),
        ],
    )
    def test_it_is_seconds_or_a_date_and_a_day_at_most(
        self, web: Web, said: str, seconds: int | None
    ) -> None:
        url = answer_with(web, "/busy", 429, Retry_After=said)
        with pytest.raises(FetchError, match="429") as caught:
            ask(url)
        assert (caught.value.status, caught.value.retry_after_s) == (429, seconds)

    def test_a_refusal_has_its_status(self, web: Web) -> None:
        """A source that is gone is not asked again, unless it is gone only where a redirect leads
        that may end; one that cannot be reached has none."""
        with pytest.raises(FetchError) as caught:
            ask(answer_with(web, "/gone", 410))
        assert (caught.value.status, caught.value.retry_after_s) == (410, None)
        for status, told in ((301, 410), (302, 404)):
            with pytest.raises(FetchError, match="410 Gone") as caught:
                ask(answer_with(web, "/moved", status, Location="/gone"))
            assert caught.value.status == told
        with pytest.raises(FetchError) as caught:
            ask("http://127.0.0.1:1/")
        assert caught.value.status is None


class TestMoving:
    """Redirects, for now and for good."""

    @pytest.mark.parametrize(
        ("statuses", "moved_to"),
        [
            ((301,), 1),
            ((308,), 1),
            ((302,), None),
            ((303,), None),
            ((307,), None),
            ((301, 308), 2),
            ((301, 302), 1),
            ((302, 301), None),
            ((308, 302, 301), 1),
        ],
    )
    def test_an_address_moves_for_good_as_far_as_all_hops_say_so(
        self, web: Web, statuses: tuple[int, ...], moved_to: int | None
    ) -> None:
        for place, status in enumerate(statuses):
            web.redirect(f"/{place}", f"/{place + 1}", status)
        last = answer_with(web, f"/{len(statuses)}", 200, body=b"here")
        found = ask(web.url("/0"))
        assert found.url == last
        assert found.permanent_url == (None if moved_to is None else web.url(f"/{moved_to}"))

    @pytest.mark.parametrize(
        "written", ["/caf\u00c3\u00a9 x", "caf%C3%A9%20x", "//{host}/caf\u00c3\u00a9%20x#part"]
    )
    def test_where_it_leads_may_be_written_in_any_way(self, web: Web, written: str) -> None:
        """As UTF-8, which reads as Latin-1 in a header, relative, or without a scheme."""
        web.serve("/caf%C3%A9%20x", "hello")
        host = f"127.0.0.1:{web.port}"
        assert download(web.redirect("/old", written.replace("{host}", host))) == b"hello"

    def test_a_cookie_on_the_way_comes_back_to_its_host_alone(self, web: Web) -> None:
        """Some servers redirect to the same address until it does."""
        url = web.url("/wall")

        def wall(request: BaseHTTPRequestHandler) -> None:
            is_known = request.headers.get("Cookie") == "seen=1"
            request.send_response(200 if is_known else 302)
            request.send_header("Set-Cookie", "seen=1; Path=/; HttpOnly")
            request.send_header("Location", "/wall")
            request.send_header("Content-Length", "0")
            request.end_headers()

        web.answers["/wall"] = wall
        assert ask(url).status == 200

        answer_with(web, "/other", 200)
        other = f"http://localhost:{web.port}/other"
        ask(answer_with(web, "/leave", 302, Location=other, Set_Cookie="secret=1"))
        assert "Cookie" not in web.headers[-1]

    def test_a_redirect_to_a_machine_that_may_not_be_asked_ends_there(
        self, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first hop may be asked, the second is in the own network."""
        monkeypatch.setattr(
            "tidings.importing.addresses.is_public", lambda address: address == "127.0.0.1"
        )
        inside = f"http://127.0.0.2:{web.port}/secret"
        url = web.redirect("/x", inside)
        with pytest.raises(FetchError, match=r"^127\.0\.0\.2 is not a public address$"):
            ask(url, rules=PUBLIC_ONLY)
        assert web.asked == ["/x"]

    def test_a_redirect_without_an_address_is_an_error(self, web: Web) -> None:
        for number, location in enumerate(("http://", "http://[", "http://me:pw@127.0.0.1/")):
            with pytest.raises(FetchError):
                ask(web.redirect(f"/{number}", location))
        with pytest.raises(FetchError, match="302"):
            ask(answer_with(web, "/nowhere", 302))


def test_servers_are_told_who_asks(web: Web) -> None:
    """Many refuse who does not say; the address is where an owner can complain."""
    url = answer_with(web, "/x", 200)
    ask(url, rules=FetchRules(site_url="https://news.example", private_addresses=True))
    said = web.headers[-1]["User-Agent"]
    assert said.startswith("Tidings/")
    assert said.endswith("(+https://news.example)")


def test_no_proxy_of_the_environment_is_asked(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would look names up where no rule reaches."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert download(web.serve("/x", "hello")) == b"hello"


def test_a_server_with_thousands_of_headers_is_cut_off(web: Web) -> None:
    """What it says of itself is no place for a novel."""
    many = {f"X-{number}": "a" * 1000 for number in range(5000)}
    with pytest.raises(FetchError, match="headers"):
        ask(answer_with(web, "/x", 200, body=b"", **many))


def test_nothing_stays_open_behind_a_fetch(web: Web) -> None:
    """Neither of one that went well, nor of one that was refused, redirected or cut."""
    web.serve("/x", "hello")
    web.serve("/large", b"x" * 5000)
    web.redirect("/loop", "/loop")
    process = psutil.Process()
    mine = [conn for conn in process.net_connections() if conn.raddr]
    ask(web.url("/x"))
    for path in ("/large", "/loop", "/none"):
        with pytest.raises(FetchError):
            ask(web.url(path))
    theirs = [
        conn
        for conn in process.net_connections()
        if conn.raddr and conn.raddr.port == web.port and conn not in mine
    ]
    assert theirs == []
