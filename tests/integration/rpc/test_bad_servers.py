"""The client against servers that break, stall and lie: it fails in time, says how, and never
believes a reply that is not its own."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.Thrift import TMessageType
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TTransportException

from tests.integration.rpc.conftest import Connect, Serve
from tests.integration.rpc.peers import (
    HEADERS,
    PATIENCE_S,
    Conversation,
    Peer,
    Script,
    header_frame,
)
from tests.lab.servers import free_port, wait_until
from tidings.process.deadline import Deadline, DeadlineExceededError
from tidings.rpc.calling.client import Client
from tidings.rpc.errors import CallerFaultError, ServerFaultError, TransportFaultError
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import Event, ReportRequest, UserRequest
from tidings_idl.recommend.UserRecommend import user_recommend_args, user_recommend_result

NO_ANSWER = UserRequest(user_id=1)
BIN_LIST, BIN_STRING, BIN_STRUCT = b"\x0f", b"\x0b", b"\x0c"


def _silent(conversation: Conversation) -> None:
    conversation.read_call()
    conversation.hold()


def _one_byte_at_a_time(conversation: Conversation) -> None:
    reply = conversation.read_call().reply("x" * 4096)
    for byte in reply:
        conversation.send(bytes([byte]))
        time.sleep(0.01)  # 40 s for all of it, and each byte well before any time-out


def _half_a_frame_then_silence(conversation: Conversation) -> None:
    reply = conversation.read_call().reply()
    conversation.send(reply[: len(reply) // 2])
    conversation.hold()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(_silent, id="silent"),
        pytest.param(_one_byte_at_a_time, id="slow"),
        pytest.param(_half_a_frame_then_silence, id="half a frame"),
    ],
)
def test_no_server_can_outlast_the_deadline(connect: Connect, script: Script) -> None:
    """Trap: a time-out for each `recv` starts anew with every byte, so a trickle of them lasts for
    ever."""
    with Peer(script) as peer:
        client = connect(peer.endpoint, timeout_ms=100)

        with pytest.raises(DeadlineExceededError):
            client.call("user_recommend", NO_ANSWER)


def test_a_server_that_never_reads_cannot_outlast_the_deadline(connect: Connect) -> None:
    """Trap: a `send` into a full buffer has no time-out of its own in the stock client."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with listener:
        client = connect(f"127.0.0.1:{listener.getsockname()[1]}", timeout_ms=100)
        events = ReportRequest([Event("x" * 60_000, 0) for _ in range(16)])

        # One request may still fit in the kernel's buffers; on one connection after another none is
        # read.
        for _ in range(3):
            with pytest.raises(DeadlineExceededError):
                client.call("report", events)


def _bytes_instead(data: bytes) -> Script:
    def script(conversation: Conversation) -> None:
        conversation.read_call()
        conversation.send(data)

    return script


def _wrong_kind(conversation: Conversation) -> None:
    call = conversation.read_call()
    body = user_recommend_args(UserRequest(user_id=2))
    conversation.send(header_frame(call.name, TMessageType.CALL, call.seqid, body))


def _another_seqid(conversation: Conversation) -> None:
    call = conversation.read_call()
    conversation.send(call.reply("another's", seqid=call.seqid + 1))


def _another_method(conversation: Conversation) -> None:
    conversation.send(conversation.read_call().reply("another's", name="report"))


def _closes_mid_reply(conversation: Conversation) -> None:
    reply = conversation.read_call().reply("x" * 100)
    conversation.send(reply[:-10])


def _resets(conversation: Conversation) -> None:
    conversation.read_call()
    conversation.reset()


def _frame(payload: bytes) -> bytes:
    return struct.pack("!i", len(payload)) + payload


def _header_wrapped(payload: bytes) -> bytes:
    """A header frame around any payload: magic, flags, sequence id, one word of (empty) headers."""
    return _frame(struct.pack("!HHiH", 0x0FFF, 0, 1, 1) + b"\0\0\0\0" + payload)


def _lying_lengths(field: bytes) -> Script:
    def script(conversation: Conversation) -> None:
        call = conversation.read_call()
        name = call.name.encode()
        message = struct.pack("!Ii", 0x80010002, len(name)) + name + struct.pack("!i", call.seqid)
        conversation.send(_header_wrapped(message + field))

    return script


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(_bytes_instead(b""), id="closes"),
        pytest.param(_closes_mid_reply, id="closes mid-reply"),
        pytest.param(_resets, id="resets"),
        pytest.param(_bytes_instead(struct.pack("!i", 0x7FFFFFFF)), id="2 GiB header"),
        pytest.param(_bytes_instead(struct.pack("!i", -5)), id="negative length"),
        pytest.param(_bytes_instead(os.urandom(64)), id="garbage"),
        pytest.param(_bytes_instead(b"HTTP/1.1 400 Bad Request\r\n\r\n"), id="HTTP"),
        pytest.param(
            _bytes_instead(_frame(b"\x80\x01\0\x02" + bytes(20))), id="plain framed binary"
        ),
        pytest.param(_bytes_instead(_frame(b"")), id="empty frame"),
        pytest.param(_bytes_instead(_header_wrapped(b"")), id="empty message"),
        pytest.param(_wrong_kind, id="sends a call"),
        pytest.param(_another_seqid, id="replies to another call"),
        pytest.param(_another_method, id="replies to another method"),
        # success (field 0, struct) with exposure (1, string) or recommends (3, list) of 2 G
        # elements
        pytest.param(
            _lying_lengths(BIN_STRUCT + b"\0\0" + BIN_STRING + b"\0\x01\x7f\xff\xff\xff"),
            id="2 GiB string",
        ),
        pytest.param(
            _lying_lengths(
                BIN_STRUCT + b"\0\0" + BIN_LIST + b"\0\x03" + BIN_STRUCT + b"\x7f\xff\xff\xff"
            ),
            id="list of 2 G structs",
        ),
    ],
)
def test_what_is_no_reply_to_this_call_is_a_transport_fault(
    connect: Connect, script: Script
) -> None:
    """Trap: the generated client never looks at the sequence id or the name, and a declared length
    of 2 G is allocated before a byte of it has come. The request was sent, so it is not tried
    again."""
    with Peer(script) as peer:
        client = connect(peer.endpoint)

        with pytest.raises(TransportFaultError) as caught:
            client.call("user_recommend", NO_ANSWER)

        assert caught.value.sent
        assert not caught.value.retryable


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(_frame),
        st.binary(max_size=200).map(_header_wrapped),
        st.binary(max_size=200).map(lambda tail: _frame(struct.pack("!HHi", 0x0FFF, 0, 1) + tail)),
    )
)
def test_no_bytes_make_the_client_fail_otherwise(connect: Connect, data: bytes) -> None:
    """After any answer the caller handles one family of exceptions; nothing of a decoder's own gets
    out."""
    with Peer(_bytes_instead(data)) as peer:
        client = connect(peer.endpoint)
        with pytest.raises(TransportFaultError):
            client.call("user_recommend", NO_ANSWER)


def test_an_empty_result_is_the_servers_fault(connect: Connect) -> None:
    """Trap: a stock server whose handler returned None sends a result with nothing in it."""

    def script(conversation: Conversation) -> None:
        call = conversation.read_call()
        conversation.send(
            header_frame(call.name, TMessageType.REPLY, call.seqid, user_recommend_result())
        )

    with Peer(script) as peer, pytest.raises(ServerFaultError, match="answered with nothing"):
        connect(peer.endpoint).call("user_recommend", NO_ANSWER)


# A reply belongs to one call.


def _replies_late(late: threading.Event) -> Script:
    """The second call of each connection is answered only after `late`; the others at once."""

    def script(conversation: Conversation) -> None:
        for which in ("first", "second", "third"):
            call = conversation.read_call()
            if which == "second":
                late.wait(PATIENCE_S)
            conversation.send(call.reply(f"{which} of connection {conversation.number}"))
        conversation.hold()

    return script


def test_a_late_reply_never_goes_to_the_next_caller(connect: Connect) -> None:
    """Trap: a connection used again after a time-out returns the previous call's reply."""
    late = threading.Event()
    with Peer(_replies_late(late)) as peer:
        client = connect(peer.endpoint)
        assert client.call("user_recommend", NO_ANSWER).exposure == "first of connection 1"
        with pytest.raises(DeadlineExceededError):
            client.call("user_recommend", NO_ANSWER, _soon())
        late.set()

        assert client.call("user_recommend", NO_ANSWER).exposure == "first of connection 2"


def test_a_naive_pool_gives_a_late_reply_to_the_next_caller() -> None:
    """Shows the trap that the test above would fall into: the stock client and its `isOpen` as the
    health check."""
    late = threading.Event()
    with Peer(_replies_late(late)) as peer:
        host, port = peer.endpoint.split(":")
        transport = TSocket(host, int(port))
        transport.open()
        naive = UserRecommend.Client(THeaderProtocol(transport, HEADERS))
        transport.setTimeout(PATIENCE_S * 1000)
        assert naive.user_recommend(UserRequest(user_id=1)).exposure == "first of connection 1"
        transport.setTimeout(100)
        with pytest.raises(TTransportException):
            naive.user_recommend(UserRequest(user_id=2))
        transport.setTimeout(PATIENCE_S * 1000)
        late.set()

        assert transport.isOpen(), "it waits for nothing and takes the late bytes for health"
        assert naive.user_recommend(UserRequest(user_id=3)).exposure == "second of connection 1"
        transport.close()


@pytest.mark.parametrize("at_once", [True, False], ids=["in one packet", "a moment later"])
def test_a_second_reply_spoils_the_connection(connect: Connect, at_once: bool) -> None:
    """Trap: `isOpen` takes the unread byte of a second reply for a sign of life."""

    def script(conversation: Conversation) -> None:
        call = conversation.read_call()
        reply = call.reply(f"connection {conversation.number}")
        if at_once:
            conversation.send(reply + reply)
        else:
            conversation.send(reply)
            conversation.send(reply)
        conversation.hold()

    with Peer(script) as peer:
        client = connect(peer.endpoint)
        for number in (1, 2, 3):
            assert client.call("user_recommend", NO_ANSWER).exposure == f"connection {number}"
            wait_until(lambda: not _keeps_a_quiet_one(client), PATIENCE_S, "the second reply")


def _keeps_a_quiet_one(client: Client) -> bool:
    """A connection that could be lent again."""
    kept = client._balancer._endpoints[0].pool._free[-1]
    return kept is not None and kept.connection.is_idle()


def test_a_reply_inside_a_longer_frame_spoils_the_connection(connect: Connect) -> None:
    """What follows the message in its frame would be the start of the next one."""

    def script(conversation: Conversation) -> None:
        call = conversation.read_call()
        reply = call.reply(f"connection {conversation.number}")
        conversation.send(_frame(reply[4:] + b"more"))
        conversation.hold()

    with Peer(script) as peer:
        client = connect(peer.endpoint)
        for number in (1, 2):
            assert client.call("user_recommend", NO_ANSWER).exposure == f"connection {number}"


def test_a_connection_that_the_server_closed_is_replaced_unnoticed(connect: Connect) -> None:
    """Trap: with a maximum age above the server's idle time-out, reuse meets EOF; looking first
    costs one poll."""

    def script(conversation: Conversation) -> None:
        conversation.send(conversation.read_call().reply(f"connection {conversation.number}"))
        conversation.sock.shutdown(socket.SHUT_RDWR)

    with Peer(script) as peer:
        client = connect(peer.endpoint)
        for number in (1, 2):
            assert client.call("user_recommend", NO_ANSWER).exposure == f"connection {number}"
            wait_until(lambda: not _keeps_a_quiet_one(client), PATIENCE_S, "its end")


def test_a_request_that_cannot_be_encoded_leaves_nothing_behind(
    serve: Serve, connect: Connect
) -> None:
    """Trap: half a message stays in the write buffer, and the next call on that client fails."""
    client = connect(serve().endpoint, pool_size=1)

    for wrong in (UserRequest(channel_id=2**31), UserRequest(user_id="x"), {"user_id": 1}):
        with pytest.raises(CallerFaultError, match="cannot be encoded"):
            client.call("user_recommend", wrong)
        assert client.call("user_recommend", UserRequest(user_id=4)).exposure == "4"

    with pytest.raises(CallerFaultError, match="too long"):
        client.call("report", ReportRequest([Event("x" * 60_000, 0) for _ in range(20)]))
    assert client.call("user_recommend", UserRequest(user_id=4)).exposure == "4"


def test_an_interrupt_destroys_the_connection_it_hits(connect: Connect) -> None:
    """Trap: `gevent.Timeout` and KeyboardInterrupt pass `except Exception`; the reply they left
    comes later."""
    asked = threading.Event()
    late = threading.Event()

    def script(conversation: Conversation) -> None:
        call = conversation.read_call()
        if conversation.number == 1:
            asked.set()
            late.wait(PATIENCE_S)
        conversation.send(call.reply(f"connection {conversation.number}"))
        conversation.hold()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt_once_asked(thread: int) -> None:
        if asked.wait(PATIENCE_S):
            signal.pthread_kill(thread, signal.SIGUSR1)

    with Peer(script) as peer:
        client = connect(peer.endpoint)
        previous = signal.signal(signal.SIGUSR1, interrupt)
        helper = threading.Thread(target=interrupt_once_asked, args=(threading.get_ident(),))
        try:
            helper.start()
            with pytest.raises(KeyboardInterrupt):
                client.call("user_recommend", NO_ANSWER)
        finally:
            signal.signal(signal.SIGUSR1, previous)
            helper.join()
        late.set()

        assert client.call("user_recommend", NO_ANSWER).exposure == "connection 2"


# Nobody there.


def test_a_refused_connection_was_not_sent(connect: Connect) -> None:
    """The difference between "try elsewhere" and "it may have been done"."""
    client = connect(f"127.0.0.1:{free_port()}")

    with pytest.raises(TransportFaultError, match="cannot connect") as caught:
        client.call("user_recommend", NO_ANSWER)

    assert not caught.value.sent


def test_a_host_that_does_not_answer_costs_no_more_than_the_connect_timeout(
    connect: Connect,
) -> None:
    """SYN packets that are dropped; the deadline is far away and the call fails all the same."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers: list[socket.socket] = []
        while len(fillers) < 8:
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        client = connect(f"127.0.0.1:{listener.getsockname()[1]}", connect_timeout_ms=50)

        with pytest.raises(TransportFaultError, match="timed out") as caught:
            client.call("user_recommend", NO_ANSWER)

        assert not caught.value.sent
        for filler in fillers:
            filler.close()


def _soon() -> Deadline:
    return Deadline.after_ms(100)
