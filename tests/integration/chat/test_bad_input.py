"""What a socket's client may not do: each has one end, it is counted, and no other client notices.

By raw sockets, since no library breaks the rules; what a library can do is in test_library.py.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import jwt
import pytest

from services.chat.closing import Closing
from tests.lab.chat import SECRET_KEY, ChatClient, ChatNode, ChatSite
from tests.lab.raw_websocket import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    connect_raw,
    frame,
    request,
    say_hello,
    text,
)
from tests.lab.servers import wait_until
from tidings.http.reader_id import ReaderSigner

NewReader = Callable[[], int]
MOST_BYTES = 16 * 1024
E_ACUTE = "é".encode()
PING_FRAME = text({"type": "ping"})
# What is sent after the welcome → how it ends.
BAD = {
    "binary": (frame(BINARY, b"\x00"), Closing.BINARY),
    "not UTF-8": (frame(TEXT, b'{"type":"\xff"}'), Closing.NOT_UTF8),
    "half a letter, and no more": (
        frame(TEXT, E_ACUTE[:1], final=0) + frame(CONT, b""),
        Closing.NOT_UTF8,
    ),
    "half a letter, then another": (
        frame(TEXT, E_ACUTE[:1], final=0) + frame(CONT, E_ACUTE[:1]),
        Closing.NOT_UTF8,
    ),
    "a frame of 1 MB": (frame(TEXT, b"x", length=10**6), Closing.TOO_BIG),
    "a frame of 2**62 bytes": (frame(TEXT, b"x", length=2**62), Closing.TOO_BIG),
    "a byte more than a message may have": (frame(TEXT, b" " * (MOST_BYTES + 1)), Closing.TOO_BIG),
    "fragments of more bytes": (
        frame(TEXT, b" " * MOST_BYTES, final=0) + frame(CONT, b" ", final=0),
        Closing.TOO_BIG,
    ),
    "empty fragments without end": (
        frame(TEXT, final=0) + frame(CONT, final=0) * 100,
        Closing.TOO_BIG,
    ),
    "not masked": (frame(TEXT, b"{}", masked=0), Closing.PROTOCOL),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), Closing.PROTOCOL),
    "a pong of 126 bytes": (frame(PONG, b"x" * 126), Closing.PROTOCOL),
    "a ping in fragments": (frame(PING, final=0), Closing.PROTOCOL),
    "a continuation of nothing": (frame(CONT, b"{}"), Closing.PROTOCOL),
    "a message within a message": (
        frame(TEXT, b"{", final=0) + frame(TEXT, b"}"),
        Closing.PROTOCOL,
    ),
    "compressed, which was not agreed on": (frame(TEXT, b"{}", reserved=4), Closing.PROTOCOL),
    "a reserved bit": (frame(TEXT, b"{}", reserved=1), Closing.PROTOCOL),
    "a reserved opcode": (frame(0x3), Closing.PROTOCOL),
    "a reserved control opcode": (frame(0xB), Closing.PROTOCOL),
    "a close of one byte": (frame(CLOSE, b"\x03"), Closing.PROTOCOL),
    "a close with a code that means no close": (
        frame(CLOSE, struct.pack("!H", 1005)),
        Closing.PROTOCOL,
    ),
    "a close whose reason is not UTF-8": (
        frame(CLOSE, struct.pack("!H", 1000) + b"\xff"),
        Closing.NOT_UTF8,
    ),
    "a flood of messages": (PING_FRAME * 1000, Closing.FLOOD),
    "a flood of pings": (frame(PING) * 1000, Closing.FLOOD),
    "a flood of pongs": (frame(PONG) * 1000, Closing.FLOOD),
    "no JSON": (frame(TEXT, b"hello"), Closing.BAD_FRAME),
    "an empty message": (frame(TEXT), Closing.BAD_FRAME),
    "JSON that is no object": (frame(TEXT, b"[]"), Closing.BAD_FRAME),
    "no type": (text({"cid": "1"}), Closing.BAD_FRAME),
    "a type that there is not": (text({"type": "shout"}), Closing.BAD_FRAME),
    "a type of the server's": (text({"type": "welcome"}), Closing.BAD_FRAME),
    "a field that there is not": (text({"type": "ping", "loud": True}), Closing.BAD_FRAME),
    "a field that is missing": (text({"type": "typing"}), Closing.BAD_FRAME),
    "a number that no column holds": (
        text({"type": "read", "conversation_id": 1, "seq": 2**63}),
        Closing.BAD_FRAME,
    ),
    "a number below zero": (
        text({"type": "read", "conversation_id": -1, "seq": 1}),
        Closing.BAD_FRAME,
    ),
    "a name without end": (text({"type": "ping", "ref": "x" * 65}), Closing.BAD_FRAME),
    "half of a pair of surrogates": (
        frame(TEXT, rb'{"type":"ping","ref":"\ud800"}'),
        Closing.BAD_FRAME,
    ),
    "JSON of endless depth": (
        frame(TEXT, b'{"type":"ping","ref":' + b"[" * 8000),
        Closing.BAD_FRAME,
    ),
    "a second hello": (text({"type": "hello", "ticket": "x"}), Closing.BAD_FRAME),
}
# What a handshake changes → how it is answered.
REFUSED = {
    "a page of another site": (request(Origin="https://evil.example"), 403),
    "a page in a sandbox": (request(Origin="null"), 403),
    "an origin that begins like ours": (request(Origin="http://127.0.0.1:8000.evil.example"), 403),
    "no upgrade": (request(Upgrade=None, Connection=None), 426),
    "an upgrade to something else": (request(Upgrade="h2c"), 426),
    "no key": (request(Sec_WebSocket_Key=None), 400),
    "a key that is too short": (request(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "another version": (request(Sec_WebSocket_Version="8"), 400),
    "another method": (request("POST /ws HTTP/1.1", Content_Length="0"), 405),
    "HTTP/1.0": (request("GET /ws HTTP/1.0"), 505),
    "garbage": (b"\x00\x01\x02 garbage\r\n\r\n", 400),
    "TLS on a plain port": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),
    "a header without end": (request(Cookie="x" * 10_000), 431),
    "two lengths": (request(Content_Length="1, 2"), 400),
}


@pytest.fixture
def bystander(site: ChatSite, node: ChatNode, new_reader: NewReader) -> Iterator[ChatClient]:
    """Who must not notice: it is answered at the end as at the beginning."""
    with ChatClient(node.url, site.ticket(new_reader())) as client:
        yield client
        client.send({"type": "ping", "ref": "still"})
        assert client.await_type("pong")["ref"] == "still"


@pytest.mark.parametrize("what", BAD)
def test_what_is_against_the_rules_has_its_close_code(
    what: str, site: ChatSite, node: ChatNode, new_reader: NewReader, bystander: ChatClient
) -> None:
    data, closing = BAD[what]
    code = str(closing.code)
    before = node.count("tidings_chat_closed_total", code=code)

    with say_hello(node.port, site.ticket(new_reader())) as raw:
        raw.send(data)

        assert raw.read_close() == closing.code
        assert raw.has_ended()
    assert node.count("tidings_chat_closed_total", code=code) == before + 1


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_handshake_is_given_no_socket(
    what: str, node: ChatNode, bystander: ChatClient
) -> None:
    data, status = REFUSED[what]
    before = node.count("tidings_chat_refused_total")

    with connect_raw(node.port) as raw:
        raw.send(data)

        assert raw.read_head().split()[1] == str(status)
        assert raw.has_ended()
    assert node.count("tidings_chat_refused_total") == before + 1


def test_a_letter_may_be_split_over_fragments(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    message = '{"type":"ping","ref":"é"}'.encode()
    at = message.index(E_ACUTE) + 1

    with say_hello(node.port, site.ticket(new_reader())) as raw:
        # A control frame may stand between fragments.
        raw.send(frame(TEXT, message[:at], final=0) + frame(PING, b"?") + frame(CONT, message[at:]))

        while (answer := raw.read_frame()) == (PING, b""):
            pass  # its own question, which comes at any moment
        assert answer == (PONG, b"?")
        assert raw.read_message() == {"type": "pong", "ref": "é"}


def test_what_stands_before_a_close_in_one_packet_is_done(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    with say_hello(node.port, site.ticket(new_reader())) as raw:
        raw.send(PING_FRAME + frame(CLOSE, struct.pack("!H", 1000)))

        assert raw.read_message() == {"type": "pong"}
        assert raw.read_close() == 1000
        assert raw.has_ended()


def test_a_message_of_the_largest_size_is_read(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    message = b'{"type":"ping","ref":"x"}'

    with say_hello(node.port, site.ticket(new_reader())) as raw:
        raw.send(frame(TEXT, message.ljust(MOST_BYTES)))

        assert raw.read_message() == {"type": "pong", "ref": "x"}


def test_a_compression_that_is_offered_is_not_agreed_to(node: ChatNode) -> None:
    """It would triple the memory of each socket."""
    with connect_raw(node.port) as raw:
        head = raw.shake_hands(Sec_WebSocket_Extensions="permessage-deflate")

    assert head.startswith("HTTP/1.1 101")
    assert "extensions" not in head.lower()


def test_what_a_client_sends_right_behind_its_handshake_is_read(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    with connect_raw(node.port) as raw:
        hello = text({"type": "hello", "ticket": site.ticket(new_reader())})
        raw.send(request() + hello)

        assert raw.read_head().startswith("HTTP/1.1 101")
        assert raw.read_message()["type"] == "welcome"


def make_tickets(site: ChatSite, reader_id: int) -> dict[str, str]:
    """Tickets that admit no reader, by what is wrong with them."""
    claims = {"aud": "chat", "sub": "7", "jti": "1", "iat": 1, "exp": time.time() + 60}
    return {
        "empty": "",
        "no ticket": "reader 7",
        "cut off": site.ticket(reader_id)[:-4],
        "signed with the site's own key": jwt.encode(claims, SECRET_KEY, "HS256"),
        "not signed": jwt.encode(claims, None, "none"),
        "used": site.ticket(reader_id),
    }


@pytest.mark.parametrize(
    "what",
    ["empty", "no ticket", "cut off", "signed with the site's own key", "not signed", "used"],
)
def test_a_ticket_that_is_none_admits_nobody(
    what: str, site: ChatSite, node: ChatNode, new_reader: NewReader, bystander: ChatClient
) -> None:
    ticket = make_tickets(site, new_reader())[what]
    before = node.count("tidings_chat_not_admitted_total")
    if what == "used":
        with say_hello(node.port, ticket):
            pass

    with connect_raw(node.port) as raw:
        raw.shake_hands()
        raw.send(text({"type": "hello", "ticket": ticket}))

        assert raw.read_close() == 4401
    assert node.count("tidings_chat_not_admitted_total") == before + 1


def test_a_ticket_comes_before_anything_else(node: ChatNode, bystander: ChatClient) -> None:
    with connect_raw(node.port) as raw:
        raw.shake_hands()
        raw.send(text({"type": "send", "cid": "1", "conversation_id": 1, "body": "hi"}))

        assert raw.read_close() == 4401


@pytest.fixture(scope="module")
def hasty(site: ChatSite) -> Iterator[ChatNode]:
    """A node that waits for little, and for few, and yet longer than a busy machine may stop a
    client for."""
    with site.start_node(
        chat_hello_s=6,
        chat_half_open=20,
        chat_connections_per_address=3,
        chat_ping_every_s=0.5,
        chat_dead_after_s=8,
    ) as node:
        yield node


def test_a_client_that_does_not_ask_is_cut_off(hasty: ChatNode) -> None:
    before = hasty.count("tidings_chat_refused_total", reason="slow")
    with connect_raw(hasty.port) as raw:
        raw.send(request()[:-2])

        assert raw.has_ended()
    assert hasty.count("tidings_chat_refused_total", reason="slow") == before + 1


def test_a_body_that_does_not_come_is_not_waited_for(site: ChatSite, hasty: ChatNode) -> None:
    reader = ReaderSigner([SECRET_KEY.encode()]).sign(2**52 + 1)
    head = (
        "POST /conversations HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Content-Length: 100",
        f"X-Reader: {reader}",
    )
    with connect_raw(hasty.port) as raw:
        raw.send("\r\n".join((*head, "", '{"kind":')).encode())

        assert raw.read_head().startswith("HTTP/1.1 408 ")
        assert raw.has_ended()


def test_a_client_that_says_no_hello_is_closed(hasty: ChatNode) -> None:
    with connect_raw(hasty.port) as raw:
        raw.shake_hands()

        assert raw.read_close() == 4408


def test_a_crowd_that_only_connects_pushes_out_its_own(
    site: ChatSite, hasty: ChatNode, new_reader: NewReader
) -> None:
    """The oldest go first, so one that speaks at once gets in."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect_raw(hasty.port)) for _ in range(60)]
        with ChatClient(hasty.url, site.ticket(new_reader())) as client:
            assert client.welcome

        assert all(raw.has_ended() for raw in crowd)
    assert hasty.count("tidings_chat_refused_total", reason="pushed_out") >= 40


def test_an_address_behind_a_proxy_holds_no_more_than_its_share(
    site: ChatSite, hasty: ChatNode, new_reader: NewReader
) -> None:
    def shake(stack: ExitStack, address: str) -> str:
        raw = stack.enter_context(connect_raw(hasty.port))
        return raw.shake_hands(X_Forwarded_For=address).partition("\r\n")[0]

    with ExitStack() as stack:
        first = [shake(stack, "192.0.2.7") for _ in range(4)]
        other = shake(stack, "192.0.2.8")
        # A network of 64 bits is one subscriber's.
        network = [shake(stack, f"2001:db8::{number}") for number in range(4)]

    assert [answer.split()[1] for answer in first] == ["101", "101", "101", "429"]
    assert other.split()[1] == "101"
    assert [answer.split()[1] for answer in network] == ["101", "101", "101", "429"]
    # What is gone holds nothing.
    wait_until(lambda: hasty.count("tidings_chat_half_open") == 0, 30, "their end")
    with ExitStack() as stack:
        assert shake(stack, "192.0.2.7").split()[1] == "101"


def test_a_client_that_is_silent_is_found_dead_and_one_that_answers_pings_is_not(
    site: ChatSite, hasty: ChatNode, new_reader: NewReader
) -> None:
    """The silent one is like a telephone that lost its network."""
    with (
        say_hello(hasty.port, site.ticket(new_reader())) as silent,
        say_hello(hasty.port, site.ticket(new_reader())) as answering,
    ):
        for _ in range(20):  # two a second: longer than a silent one lives
            assert answering.read_frame() == (PING, b"")
            answering.send(frame(PONG))
        assert silent.read_frame() == (PING, b"")
        assert silent.read_close() == 1001
        assert answering.read_frame() == (PING, b"")


def test_a_client_that_does_not_leave_is_cut_off(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    """It was sent a close, and neither answers nor ends its own side."""
    with say_hello(node.port, site.ticket(new_reader())) as raw:
        raw.send(frame(BINARY))

        assert raw.read_close() == 1003
        wait_until(lambda: len(established(node)) == 0, 30, "the end of the connection")


def established(node: ChatNode) -> list[int]:
    """The ports of its clients."""
    return [
        link.raddr.port
        for link in node.worker.net_connections("tcp")
        if link.status == "ESTABLISHED" and link.laddr.port == node.port
    ]
