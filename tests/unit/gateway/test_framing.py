"""Where a request ends is found the same however it is cut in pieces, and gunicorn's parser, which
has the last word, ends there too."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

import gateway.serving.framing as framing_module
from gateway.resources.bodies import PICTURE_BYTES
from gateway.serving.framing import MAX_HEAD_BYTES, MAX_LINE_BYTES, Framing
from tidings.http.errors import BodyTooLargeError, HeadTooLargeError, TargetTooLongError

MAX_BODY_BYTES = 1000
NEXT = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"


def request(*fields: str, body: bytes = b"", line: str = "POST /a HTTP/1.1") -> bytes:
    head = "\r\n".join((line, "Host: a", *fields))
    return head.encode("latin-1") + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return request("Transfer-Encoding: chunked", body=body)


WHOLE = {
    "no body": request(),
    "an empty line before it": b"\r\n" + request(),
    "a length": request("Content-Length: 5", body=b"12345"),
    "a length of none": request("Content-Length: 0"),
    "a length among spaces": request("cOnTeNt-LeNgTh: \t 5 ", body=b"12345"),
    "a body that looks like a head": request("Content-Length: 8", body=b"\r\n\r\n\r\n\r\n"),
    "one chunk": chunked(b"3\r\nabc\r\n0\r\n\r\n"),
    "chunks": chunked(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
    "an extension": chunked(b'3;a="b"\r\nabc\r\n0\r\n\r\n'),
    "a chunk that looks like the last": chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    "trailers": chunked(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
    "no chunk": chunked(b"0\r\n\r\n"),
    "a name that ends as one that counts": request("X-Content-Length: 7"),
    "a value that looks like a field": request("X-A: Content-Length: 7"),
}


def find_end(*pieces: bytes) -> int | None:
    """Where it ends, once all pieces have come."""
    framing, inbox, end = Framing(MAX_BODY_BYTES), bytearray(), None
    for piece in pieces:
        assert end is None, "it was whole before"
        inbox += piece
        end = framing.find_end(inbox)
    return end


def parse(data: bytes) -> tuple[Any, bytes, bytes]:
    """The request as gunicorn reads it, its body, and what is left."""
    parser = RequestParser(Config(), iter((data,)), ("192.0.2.1", 1))
    found = next(parser)
    body = found.body.read()
    return found, body, parser.unreader.take_buffered()


@pytest.mark.parametrize("name", WHOLE)
def test_the_end_is_where_gunicorns_parser_ends(name: str) -> None:
    data = WHOLE[name]

    end = find_end(data + NEXT)

    assert end is not None
    stripped = data.removeprefix(b"\r\n")
    assert end == len(stripped)
    _, _, rest = parse(data + NEXT)
    assert rest == NEXT


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_whole_with_its_last_byte_and_not_before(name: str) -> None:
    data = WHOLE[name]

    assert find_end(*(bytes([byte]) for byte in data)) is not None


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 200), max_size=4))
def test_the_end_is_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    data = WHOLE[name]
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    pieces = [data[start:stop] for start, stop in itertools.pairwise(bounds)]

    assert find_end(*pieces) == len(data.removeprefix(b"\r\n"))


@given(
    st.lists(
        st.sampled_from(
            (
                "Content-Length: 3",
                "Content-Length: 03",
                "Content-Length: 4",
                "Content-Length: 3, 3",
                "Content-Length: +3",
                "Content-Length : 3",
                "Content_Length: 3",
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: identity",
                "Transfer-Encoding: gzip, chunked",
                "Transfer-Encoding:\x0bchunked",
                "X-A: b\r\n Content-Length: 3",
                "X-A: b\nContent-Length: 3",
            )
        ),
        max_size=3,
    ),
    st.sampled_from(
        (
            b"",
            b"abc",
            b"3\r\nabc\r\n0\r\n\r\n",
            b"0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabcXX0\r\n\r\n",
        )
    ),
)
def test_what_the_parser_takes_it_ends_at_the_same_byte(fields: list[str], body: bytes) -> None:
    """Two readers of one connection who disagree about that are what smuggling is made of."""
    data = request(*fields, body=body) + NEXT
    end = find_end(data)
    try:
        _, _, rest = parse(data[:end])
    except (ParseException, NoMoreData):
        return  # refused, and the connection with it

    assert end is not None
    assert rest == b""
    assert parse(data)[2] == data[end:]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"GET /" + b"a" * MAX_LINE_BYTES, TargetTooLongError),
        (request("X-A: " + "a" * MAX_HEAD_BYTES), HeadTooLargeError),
        (request("X-A: " + "a" * MAX_HEAD_BYTES)[:-4], HeadTooLargeError),
        (request("Content-Length: 1001"), BodyTooLargeError),
        (request("Content-Length: " + "9" * 5000), BodyTooLargeError),
        (chunked(b"3E9\r\n"), BodyTooLargeError),
        (chunked(b"1F4\r\n" + b"a" * 500 + b"\r\n1F5\r\n"), BodyTooLargeError),
        (chunked(b"1\r\na\r\n" * 300), BodyTooLargeError),
    ],
)
def test_what_is_too_large_is_refused_before_it_has_come(
    data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        find_end(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\nHost: a\n\n",
        b"GET /a HTTP/1.1\rHost: a\r\r",
        b"\x16\x03\x01\x00\xa5\x01",
        chunked(b"x\r\n"),
        chunked(b"-1\r\n"),
        chunked(b"a" * 2000),
        chunked(b"0\r\n" + b"X-A: b\r\n" * 2000),
    ],
)
def test_what_can_become_no_request_is_not_waited_for(data: bytes) -> None:
    assert find_end(data) == len(data)


@pytest.mark.parametrize(
    ("fields", "wants_word"),
    [
        (("Content-Length: 3", "Expect: 100-continue"), True),
        (("Content-Length: 3", "Expect: 100-Continue"), True),
        (("Content-Length: 3",), False),
        (("Content-Length: 3", "Expect: more"), False),
    ],
)
def test_a_client_that_waits_for_a_word_is_known(
    fields: tuple[str, ...], *, wants_word: bool
) -> None:
    framing = Framing(MAX_BODY_BYTES)

    assert framing.find_end(bytearray(request(*fields))) is None
    assert framing.wants_word is wants_word


def pictured(length: int, path: str = "/images") -> bytearray:
    line = f"POST {path} HTTP/1.1"
    return bytearray(request(f"Content-Length: {length}", line=line))


def test_a_picture_may_be_longer_than_other_bodies() -> None:
    framing = Framing(MAX_BODY_BYTES)

    assert framing.find_end(pictured(PICTURE_BYTES)) is None
    assert Framing(MAX_BODY_BYTES).find_end(pictured(PICTURE_BYTES, "/images?a=b")) is None
    with pytest.raises(BodyTooLargeError):
        Framing(MAX_BODY_BYTES).find_end(pictured(PICTURE_BYTES + 1))
    for elsewhere in ("/image", "/images/x", "/articles"):
        with pytest.raises(BodyTooLargeError):
            Framing(MAX_BODY_BYTES).find_end(pictured(MAX_BODY_BYTES + 1, elsewhere))


def test_what_follows_a_picture_has_the_usual_bound_again() -> None:
    framing = Framing(MAX_BODY_BYTES)
    assert framing.find_end(pictured(PICTURE_BYTES)) is None

    framing.begin()

    with pytest.raises(BodyTooLargeError):
        framing.find_end(pictured(MAX_BODY_BYTES + 1, "/articles"))


def test_an_old_client_is_not_told_to_go_on() -> None:
    framing = Framing(MAX_BODY_BYTES)

    framing.find_end(
        bytearray(request("Content-Length: 3", "Expect: 100-continue", line="POST /a HTTP/1.0"))
    )

    assert not framing.wants_word


BROKEN = {
    "a bare line feed": b"GET / HTTP/1.1\r\nA: b\nC: d",
    "a bare carriage return": b"GET / HTTP/1.1\r\nA: b\rC: d",
    "two carriage returns": b"GET / HTTP/1.1\r\nA: b\r\rC: d",
    "no method": b"\x16\x03\x01 hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_handed_on_however_it_is_cut(name: str) -> None:
    data = BROKEN[name]
    for cut in range(1, len(data)):
        framing, inbox = Framing(MAX_BODY_BYTES), bytearray(data[:cut])
        if framing.find_end(inbox) is None:
            inbox += data[cut:]
            assert framing.find_end(inbox) == len(data), cut


def test_a_head_that_comes_in_crumbs_is_looked_through_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One thread looks at every connection: 250 clients with heads of 30 KB and a byte now and then
    kept it from all others."""
    looked = []

    class Searching:
        def search(self, text: bytearray, start: int) -> None:
            looked.append(len(text) - start)

    monkeypatch.setattr(framing_module, "_BROKEN", Searching())
    framing, inbox = Framing(MAX_BODY_BYTES), bytearray(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(1000):
        inbox += b"a"
        assert framing.find_end(inbox) is None

    assert sum(looked) <= 3 * len(inbox)


@pytest.mark.parametrize(
    "head",
    [
        b"Expect: x" + b" " * 30_000 + b"y\r\n\r\n",
        b"Expect:" + b" " * 30_000 + b"\n\r\n\r\n",
        b"Expect" + b" " * 30_000 + b"\r\n\r\n",
        (b"Expect:" + b" " * 15 + b"\n") * 1300 + b"\r\n\r\n",
    ],
)
def test_a_head_of_blanks_is_read_at_once(head: bytes) -> None:
    """An expression that could be tried in two ways took ten seconds for a kilobyte of them, and
    for these longer than any test may take."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + head

    assert find_end(data) == len(data)


def test_a_body_of_crumbs_is_refused_before_the_parser_copies_it_for_each() -> None:
    """It takes time that grows with the square of their number."""
    body = b"1\r\nx\r\n" * 1000
    assert Framing(256 * 1024).find_end(bytearray(chunked(body + b"0\r\n\r\n"))) is not None
    with pytest.raises(BodyTooLargeError, match="too small"):
        Framing(256 * 1024).find_end(bytearray(chunked(body * 2)))


def test_many_chunks_of_a_fair_size_are_taken() -> None:
    framing = Framing(256 * 1024)
    data = bytearray(chunked((b"64\r\n" + b"x" * 100 + b"\r\n") * 2600 + b"0\r\n\r\n"))

    assert framing.find_end(data) == len(data)
