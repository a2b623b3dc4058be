"""A server reads and answers the lean way as it does the stock way: every dialect, reply and kind
of garbage."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.Thrift import TMessageType
from thrift.transport.THeaderTransport import THeaderClientType, THeaderSubprotocolID
from thrift.transport.TTransport import TFramedTransport, TMemoryBuffer

from tidings.rpc.errors import not_found
from tidings.rpc.serving.dispatch import CallRules, Dispatcher
from tidings.rpc.wire.encoded import Pages
from tidings.rpc.wire.headers import BUDGET, CALLER, REQUEST_ID, SERVER_LEAVES, UnusualError
from tidings.rpc.wire.limits import Limits
from tidings.rpc.wire.protocol import ANY_DIALECT, HeaderProtocol, LeanProtocol
from tidings.rpc.wire.service import methods_of
from tidings.rpc.wire.transport import SocketTransport
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import (
    Article,
    ArticleResponse,
    ReportRequest,
    ReportResponse,
    Track,
    UserRequest,
)
from tidings_idl.recommend.UserRecommend import report_args, user_recommend_args

LIMITS = Limits()
TOKEN_BYTES = 8
FIELDS = ("article_id", "click", "collect", "reading", "liking")
PAGES = Pages(ArticleResponse, FIELDS, string_bytes=TOKEN_BYTES)
DIALECTS = ("header", "header compact", "framed", "framed compact", "unframed", "unframed compact")


class Handler:
    """Answers by the reader's number: a page as structs, packed, or not at all."""

    def user_recommend(self, request: UserRequest) -> Any:
        reader = request.user_id
        if reader == 1:
            raise not_found("no such reader")
        if reader == 2:
            raise ValueError("internal and secret")
        if reader == 3:
            return ArticleResponse("x", 2**80, [])  # cannot be encoded
        if reader == 4:
            return PAGES.encode(
                ArticleResponse("packed", 7),
                [(9, b"clicked!", b"collect!", b"reading!", b"likings!")],
            )
        articles = [
            Article(n, Track("click", "collect", "ré\u4e2d", str(reader))) for n in range(3)
        ]
        return ArticleResponse("exposure", request.time_stamp, articles)

    def report(self, request: ReportRequest) -> ReportResponse:
        return ReportResponse([])

    def similar_articles(self, request: Any) -> Any:
        raise NotImplementedError(request)

    explain = similar_articles


def make_dispatcher(*, leaving: bytes = b"") -> Dispatcher:
    rules = CallRules(
        max_in_flight=4, io_timeout_s=60, min_budget_ms=1, max_budget_ms=1000, slow_ms=1000
    )
    dispatcher = Dispatcher(
        methods_of(UserRecommend), Handler(), errors={}, rules=rules, answer_probe=lambda _: True
    )
    dispatcher.leaving = leaving
    return dispatcher


def message(
    dialect: str, name: str, arguments: Any, seqid: int, headers: dict[bytes, bytes]
) -> bytes:
    """A request as Thrift's own code writes it."""
    memory = TMemoryBuffer()
    compact = dialect.endswith("compact")
    if dialect.startswith("header"):
        default = THeaderSubprotocolID.COMPACT if compact else THeaderSubprotocolID.BINARY
        protocol = THeaderProtocol(memory, (THeaderClientType.HEADERS,), default)
        for key, value in headers.items():
            protocol.set_header(key, value)
    else:
        kind = TCompactProtocolAccelerated if compact else TBinaryProtocolAccelerated
        protocol = kind(TFramedTransport(memory) if dialect.startswith("framed") else memory)
    protocol.writeMessageBegin(name, TMessageType.CALL, seqid)
    arguments.write(protocol)
    protocol.writeMessageEnd()
    protocol.trans.flush()
    data: bytes = memory.getvalue()
    return data


def conversation(
    kind: Callable[..., Any], received: bytes, *, leaving: bytes = b""
) -> tuple[bytes, object]:
    """What a server that uses `kind` writes when it receives this, and how the connection ends."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(received)
        far.shutdown(socket.SHUT_WR)
        transport = SocketTransport(near, LIMITS.message_bytes)
        protocol, dispatcher = (
            kind(transport, ANY_DIALECT, LIMITS),
            make_dispatcher(leaving=leaving),
        )
        ending: object = "closed"
        try:
            while transport.await_message(60):
                try:
                    dispatcher.process(protocol)
                except UnusualError:
                    protocol = HeaderProtocol(transport, ANY_DIALECT, LIMITS)
                    dispatcher.process(protocol)
        except Exception as ex:  # noqa: BLE001 - that it fails, and how, is the outcome
            ending = type(ex), getattr(ex, "type", None)
        near.shutdown(socket.SHUT_WR)
        far.settimeout(60)
        written = b""
        while part := far.recv(65536):
            written += part
        return written, ending


CONTEXT = {BUDGET: b"900", REQUEST_ID: b"0123456789abcdef", CALLER: b"tests"}
HEADERS = st.one_of(
    st.just(CONTEXT),
    st.builds(
        lambda budget, name, caller: {BUDGET: budget, REQUEST_ID: name, CALLER: caller},
        st.sampled_from([b"0", b"1", b"900", b"99999", b"", b"-1", b"nine", b"9" * 30]),
        st.binary(max_size=140),
        st.binary(max_size=70),
    ),
    st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(max_size=200), max_size=4),
)
READERS = st.sampled_from([0, 1, 2, 3, 4, 5, 2**62])
CALLS = st.tuples(
    st.one_of(
        st.builds(
            lambda reader, stamp: (
                "user_recommend",
                user_recommend_args(UserRequest(reader, 0, 10, stamp)),
            ),
            READERS,
            st.integers(-(2**63), 2**63 - 1),
        ),
        st.just(("report", report_args(ReportRequest([])))),
        st.just(("no_such_method", report_args(ReportRequest([])))),
    ),
    st.integers(0, 2**31 - 1),
    HEADERS,
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(calls=st.lists(CALLS, min_size=1, max_size=4), leaving=st.sampled_from([b"", SERVER_LEAVES]))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_every_dialect_gets_the_same_bytes_either_way(
    dialect: str, calls: list[Any], leaving: bytes
) -> None:
    """Several calls on one connection, so that what is remembered of the last one shows if it is
    wrong of the next."""
    received = b"".join(
        message(dialect, name, given, seqid, headers) for (name, given), seqid, headers in calls
    )

    lean, stock = (
        conversation(kind, received, leaving=leaving) for kind in (LeanProtocol, HeaderProtocol)
    )

    assert lean == stock
    assert lean[1] == "closed"
    assert lean[0]


@given(
    headers=HEADERS,
    at=st.integers(0, 200),
    byte=st.integers(0, 255),
    again=st.booleans(),
    dialect=st.sampled_from(DIALECTS),
)
@settings(deadline=None, max_examples=300)
def test_one_wrong_byte_has_the_same_end_either_way(
    headers: dict[bytes, bytes], at: int, byte: int, again: bool, dialect: str
) -> None:
    """After a good message, too: what fits its form to a hair and differs in one byte is another
    message."""
    good = message(
        dialect, "user_recommend", user_recommend_args(UserRequest(7, 0, 10, 0)), 5, headers
    )
    at %= len(good)
    bad = good[:at] + bytes((byte,)) + good[at + 1 :]
    received = good + bad if again else bad

    assert conversation(LeanProtocol, received) == conversation(HeaderProtocol, received)


@given(garbage=st.binary(max_size=80), framed=st.booleans())
@settings(deadline=None, max_examples=200)
def test_garbage_has_the_same_end_either_way(garbage: bytes, framed: bool) -> None:
    received = len(garbage).to_bytes(4) + garbage if framed else garbage

    assert conversation(LeanProtocol, received) == conversation(HeaderProtocol, received)


def test_a_message_in_pieces_is_read_as_one_that_came_whole() -> None:
    """The fast path looks at what one `recv` brought; a frame may come in any number of them."""
    received = message(
        "header", "user_recommend", user_recommend_args(UserRequest(7, 0, 10, 0)), 5, CONTEXT
    )
    near, far = socket.socketpair()
    with near, far:
        transport = SocketTransport(near, LIMITS.message_bytes)
        protocol, dispatcher = LeanProtocol(transport, ANY_DIALECT, LIMITS), make_dispatcher()
        whole, _ = conversation(HeaderProtocol, received)
        for cut in (1, 3, 4, 20, len(received) - 1):
            far.sendall(received[:cut])
            assert transport.await_message(60)
            far.sendall(received[cut:])
            dispatcher.process(protocol)
            assert far.recv(65536) == whole
        far.sendall(received + received)  # and two may come with one
        for _ in range(2):
            assert transport.await_message(60)
            dispatcher.process(protocol)
        assert far.recv(65536) == whole + whole
