"""Downloads from servers that are slow, endless, moved, gone or hostile."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import brotli
import pytest

from tests.integration.importing.conftest import ANYWHERE
from tests.lab.web import Web
from tidings.importing import fetching
from tidings.importing.fetching import FetchError, fetch


def download(url: str, max_bytes: int = 1000, deadline_s: float = 10) -> bytes:
    target = io.BytesIO()
    fetch(url, target, max_bytes=max_bytes, deadline_s=deadline_s, rules=ANYWHERE)
    return target.getvalue()


def refusal(url: str, max_bytes: int = 1000, deadline_s: float = 10) -> str:
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
            while not gone.wait(0.02):
                request.wfile.write(b"X-Drip: x\r\n" if part == "head" else b"x")
                request.wfile.flush()
        except OSError:
            gone.set()

    web.answers["/drip"] = drip
    started_s = time.monotonic()
    try:
        # As a header line each, they would be too many one day; the deadline comes first.
        assert refusal(web.url("/drip"), deadline_s=0.5) == "took longer than 0.5 s"
        assert time.monotonic() - started_s < 5
        assert gone.wait(5)
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
    """What is a file's own packing is undone by who reads the file."""
    data = gzip.compress(b"hello")
    assert download(web.serve("/x.gz", data, "application/gzip")) == data
    twice = gzip.compress(data)
    assert download(web.serve("/y.gz", twice, Content_Encoding="gzip")) == data
