"""Bytes as no library sends them: whatever comes, the answer is right or a problem of the client's,
in JSON, with a request id, counted and logged; never a 5xx, and never HTML."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.gateway_site import GatewaySite, start_gateway
from tests.integration.gateway.raw_http import Answer, Wire
from tests.lab.sites import PATIENT, UNLIMITED

MAX_BODY_BYTES = 5000
BODY = b'{"events":[]}'
GET = b"GET /channels HTTP/1.1\r\nHost: a\r\n\r\n"


def get(*fields: bytes, target: bytes = b"/channels", host: bytes = b"Host: a") -> bytes:
    lines = [b"GET " + target + b" HTTP/1.1", *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    lines = [
        b"POST /behaviors HTTP/" + version,
        b"Host: a",
        b"Content-Type: application/json",
        *fields,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def long(length: int, body: bytes = BODY) -> bytes:
    return post(b"Content-Length: %d" % length, body=body)


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, the statuses of the answers, and whether another request may follow."""

    data: bytes
    statuses: tuple[int, ...]
    stays_open: bool


def answered(data: bytes, *statuses: int) -> Case:
    """The connection goes on."""
    return Case(data, statuses, stays_open=True)


def refused(data: bytes, *statuses: int) -> Case:
    """The connection ends, and what follows on it is no request."""
    return Case(data + GET, statuses, stays_open=False)


CHUNK = b"d\r\n" + BODY + b"\r\n"
END = b"0\r\n\r\n"
CASES = {
    # What is right
    "a request": answered(GET, 200),
    "five at once": answered(GET * 5, 200, 200, 200, 200, 200),
    "an empty line before": answered(b"\r\n" + GET, 200),
    "a body and a request behind it": answered(long(13) + GET, 422, 200),
    "a body nobody reads": answered(
        b"DELETE /channels HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n" + GET + GET, 405, 200
    ),
    "a body that is a request": answered(
        get(b"Content-Length: %d" % len(GET)) + GET + GET, 200, 200
    ),
    "chunks": answered(chunked(CHUNK + END) + GET, 422, 200),
    "chunks in crumbs": answered(
        chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + END) + GET, 422, 200
    ),
    "an extension of a chunk": answered(chunked(b'd;a=b;c="d"\r\n' + BODY + b"\r\n" + END), 422),
    "trailers": answered(chunked(CHUNK + b"0\r\nX-Reader: 1.x\r\n\r\n") + GET, 422, 200),
    "a tab before the coding": answered(
        post(b"Transfer-Encoding:\tchunked", body=CHUNK + END) + GET, 422, 200
    ),
    "a proxy's form of target": answered(get(target=b"http://a/channels"), 200),
    "names in any case": answered(b"GET /channels HTTP/1.1\r\nhOST: a\r\n\r\n", 200),
    "a port in the host": answered(get(host=b"Host: a.example:8000"), 200),
    "an IPv6 host": answered(get(host=b"Host: [2001:db8::1]:80"), 200),
    "an upgrade that is not taken up": answered(
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"), 200
    ),
    "a name with an underscore": answered(get(b"SCRIPT_NAME: /channels"), 200),
    "a prefix from outside": answered(get(b"Script-Name: /x", b"X-Forwarded-Prefix: /x"), 200),
    "two words on the scheme": answered(
        get(b"X-Forwarded-Proto: https", b"X-Forwarded-SSL: off"), 200
    ),
    "a junk id": answered(get(b"X-Request-Id: a*/;DROP"), 200),
    "junk cookies": answered(get(b"Cookie: tidings_reader=\xff; =; ;;; a"), 200),
    # Where does it end? Of two readings, neither
    "a length and chunks": refused(
        post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=END), 400
    ),
    "chunks and a length": refused(
        post(b"Transfer-Encoding: chunked", b"Content-Length: 6", body=END), 400
    ),
    "two lengths": refused(post(b"Content-Length: 2", b"Content-Length: 3", body=b"{}"), 400),
    "one length twice": refused(post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), 400),
    "a list of lengths": refused(post(b"Content-Length: 2, 2", body=b"{}"), 400),
    "a length with a sign": refused(post(b"Content-Length: +2", body=b"{}"), 400),
    "a length below none": refused(post(b"Content-Length: -1", body=b"{}"), 400),
    "a length with a line": refused(post(b"Content-Length: 1_0", body=b"{}"), 400),
    "a length in another base": refused(post(b"Content-Length: 0x2", body=b"{}"), 400),
    "a length of nothing": refused(post(b"Content-Length:", body=b"{}"), 400),
    "a length in superscript": refused(post(b"Content-Length: \xb2", body=b"{}"), 400),
    "an unknown coding": refused(post(b"Transfer-Encoding: xchunked", body=END), 400),
    "a coding behind a space": refused(post(b"Transfer-Encoding : chunked", body=END), 400),
    "a coding behind a control": refused(post(b"Transfer-Encoding: \x0bchunked", body=END), 400),
    "chunks of chunks": refused(post(b"Transfer-Encoding: chunked, chunked", body=END), 400),
    "chunks not last": refused(post(b"Transfer-Encoding: chunked, identity", body=END), 400),
    "packed chunks": refused(post(b"Transfer-Encoding: gzip, chunked", body=CHUNK + END), 400),
    "two codings": refused(
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=END), 400
    ),
    "chunks of an old client": refused(
        post(b"Transfer-Encoding: chunked", body=CHUNK + END, version=b"1.0"), 400
    ),
    # Broken chunks
    "a chunk's size with a prefix": refused(chunked(b"0xd\r\n" + BODY + b"\r\n" + END), 400),
    "a chunk's size with a sign": refused(chunked(b"+d\r\n" + BODY + b"\r\n" + END), 400),
    "a chunk below none": refused(chunked(b"-d\r\n" + BODY + b"\r\n" + END), 400),
    "a chunk of no size": refused(chunked(b"\r\n" + BODY + b"\r\n" + END), 400),
    "a chunk as large as the world": refused(chunked(b"F" * 20 + b"\r\n" + BODY), 400),
    "a chunk without its end": refused(chunked(b"d\r\n" + BODY + b"XX" + END), 400),
    "a chunk longer than it says": refused(chunked(b"c\r\n" + BODY + b"\r\n" + END), 400),
    "a chunk's line with a bare LF": refused(chunked(b"d;a\n" + BODY + b"\r\n" + END), 400),
    "a chunk's line without end": refused(chunked(b"d;" + b"a" * 2000), 400),
    "a trailer that matters": refused(chunked(CHUNK + b"0\r\nContent-Length: 3\r\n\r\n"), 400),
    "a trailer that is none": refused(chunked(CHUNK + b"0\r\nno colon\r\n\r\n"), 400),
    # Too much
    "a body too large": refused(long(MAX_BODY_BYTES + 1), 413),
    "a body as large as the world": refused(long(10**30), 413),
    "chunks too large": refused(chunked((b"3e8\r\n" + b" " * 1000 + b"\r\n") * 6 + END), 413),
    "a line too long": refused(get(target=b"/" + b"a" * 5000), 414),
    "a line without end": Case(b"GET /" + b"a" * 100_000, (414,), stays_open=False),
    "a field too long": refused(get(b"X-A: " + b"a" * 9000), 431),
    "too many fields": refused(get(*[b"X-A: b"] * 100), 431),
    "a head too large": refused(get(*[b"X-A: " + b"a" * 2000] * 20), 431),
    "an unknown expectation": refused(
        post(b"Content-Length: 2", b"Expect: 200-maybe", body=b"{}"), 417
    ),
    # Heads that are none
    "a folded field": refused(get(b"X-A: b\r\n c"), 400),
    "bare LF": refused(GET.replace(b"\r\n", b"\n"), 400),
    "bare CR": refused(GET.replace(b"\r\n", b"\r"), 400),
    "a bare LF in a field": refused(get(b"X-A: b\nX-B: c"), 400),
    "a NUL in a field": refused(get(b"X-A: b\0c"), 400),
    "a space in a name": refused(get(b"X A: b"), 400),
    "a field without a colon": refused(get(b"XA"), 400),
    "a field without a name": refused(get(b": b"), 400),
    "a method in small letters": refused(b"get /channels HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a method with a sign": refused(b"A#B /channels HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tabs in the line": refused(b"GET\t/channels\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two spaces in the line": refused(b"GET  /channels HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": refused(b"GET /channels\r\n\r\n", 400),
    "HTTP/2": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/9": refused(b"GET /channels HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    "a name for a target": refused(b"GET evil.example:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "raw letters in the target": refused(get(target="/café".encode()), 400),
    "TLS": refused(bytes.fromhex("16030100050100000100"), 400),
    "the PROXY protocol": refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n" + GET, 400),
    # Hosts
    "no host": refused(get(host=b""), 400),
    "two hosts": refused(get(b"Host: b"), 400),
    "the same host twice": refused(get(b"Host: a"), 400),
    "a host of nothing": refused(get(host=b"Host:"), 400),
    "a host with a path": refused(get(host=b"Host: a/b"), 400),
    "a host with a mark-up": refused(get(host=b"Host: <script>"), 400),
    "a host with a name before it": refused(get(host=b"Host: a@b"), 400),
    "a host with no port": refused(get(host=b"Host: a:b"), 400),
    "a target with a host that is none": refused(get(target=b"http://a@b/channels"), 400),
    "an odd host in a proxy's form": refused(get(target=b"http://a<b>/channels"), 400),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    with start_gateway(
        tmp_path_factory.mktemp("wire"),
        "",
        gateway_max_body_bytes=MAX_BODY_BYTES,
        **UNLIMITED,
        **PATIENT,
    ) as gateway:
        yield gateway
        log = gateway.process.log.read_text()
        assert "Traceback" not in log
        assert "unexpected_error" not in log


@pytest.fixture
def wire(gateway: GatewaySite) -> Iterator[Wire]:
    with Wire(("127.0.0.1", gateway.port)) as wire:
        yield wire


@pytest.fixture(scope="module")
def documented(gateway: GatewaySite) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/docs") as page:
        text: str = page.read().decode()
        return text


def check(answer: Answer, documented: str) -> None:
    """What holds for each answer, and for each that is a problem."""
    assert re.fullmatch(r"[\w-]{1,64}", answer.headers["x-request-id"])
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"<html" not in answer.body.lower()
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert problem["status"] == answer.status
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["title"]
        assert problem["detail"]
        assert f'id="{problem["type"].removeprefix("/docs#")}"' in documented


@pytest.mark.parametrize("name", CASES)
def test_what_comes_over_the_wire(wire: Wire, documented: str, name: str) -> None:
    case = CASES[name]

    wire.send(case.data)

    answers = [wire.answer() for _ in case.statuses]
    assert tuple(answer.status for answer in answers) == case.statuses
    for answer in answers:
        check(answer, documented)
    if case.stays_open:
        assert wire.send(GET).answer().status == 200
    else:
        assert answers[-1].headers["connection"] == "close"
        assert wire.is_closed()


@pytest.mark.parametrize("name", CASES)
def test_the_same_in_two_packets(wire: Wire, name: str) -> None:
    """Half of a head, or of a chunk, is no reason to answer otherwise."""
    case = CASES[name]
    middle = len(case.data.removesuffix(GET)) // 2
    wire.send(case.data[:middle])
    try:
        wire.send(case.data[middle:])
    except (BrokenPipeError, ConnectionResetError):
        assert not case.stays_open  # the first half was enough

    assert tuple(wire.answer().status for _ in case.statuses) == case.statuses


def test_a_refusal_is_counted_and_logged_as_any_answer(gateway: GatewaySite, wire: Wire) -> None:
    before = _count(gateway, 'method="POST",route="(none)",status="400"')

    answer = wire.send(
        post(b"X-Request-Id: smuggled-1", b"Transfer-Encoding: chunked", body=b"x\r\n")
    ).answer()

    assert answer.headers["x-request-id"] == "smuggled-1"
    assert answer.json["instance"] == "/behaviors"
    assert _count(gateway, 'method="POST",route="(none)",status="400"') == before + 1
    (line,) = [
        line
        for line in map(json.loads, gateway.process.log.read_text().splitlines())
        if line.get("request_id") == "smuggled-1"
    ]
    assert line["event"] == "request"
    assert line["status"] == 400
    assert line["route"] == "(none)"
    assert line["problem"] == "malformed-request"
    assert "Invalid chunk size" in line["reason"]


def test_who_asks_first_is_told_to_send(wire: Wire) -> None:
    wire.send(post(b"Content-Length: 13", b"Expect: 100-continue"))

    assert wire.answer().status == 100
    assert wire.send(BODY).answer().status == 422
    assert wire.send(GET).answer().status == 200


def test_who_asks_whether_too_much_may_come_is_told_no(wire: Wire) -> None:
    wire.send(post(b"Content-Length: 5001", b"Expect: 100-continue"))

    assert wire.answer().status == 413
    assert wire.is_closed()


@pytest.mark.parametrize(
    ("line", "field", "stays_open"),
    [
        (b"GET /channels HTTP/1.1\r\nHost: a\r\n", b"", True),
        (b"GET /channels HTTP/1.1\r\nHost: a\r\n", b"Connection: close\r\n", False),
        (b"GET /channels HTTP/1.0\r\n", b"", False),
        (b"GET /channels HTTP/1.0\r\n", b"Connection: keep-alive\r\n", True),
    ],
)
def test_the_client_says_whether_it_stays(
    wire: Wire, line: bytes, field: bytes, *, stays_open: bool
) -> None:
    answer = wire.send(line + field + b"\r\n").answer()

    assert answer.status == 200
    assert answer.headers["connection"] == ("keep-alive" if stays_open else "close")
    if not stays_open:
        assert wire.is_closed()


def test_a_body_is_read_to_its_last_byte_before_it_is_answered(wire: Wire) -> None:
    for byte in chunked(CHUNK + END):
        wire.send(bytes([byte]))

    assert wire.answer().status == 422


def _count(gateway: GatewaySite, labels: str) -> float:
    url = f"http://127.0.0.1:{gateway.process.port}/metrics"
    with urllib.request.urlopen(url) as page:
        text = page.read().decode()
    found = re.search(
        rf"^tidings_http_requests_total{{{re.escape(labels)}}} (\S+)$", text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0
