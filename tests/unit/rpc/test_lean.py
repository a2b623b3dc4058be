"""The lean way and Thrift's own: the same bytes out, the same messages in, and nothing unusual
taken for usual."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift.Thrift import TMessageType
from thrift.transport.TTransport import TTransportException

from tidings.rpc.wire.headers import UnusualError
from tidings.rpc.wire.limits import Limits
from tidings.rpc.wire.protocol import ANY_DIALECT, HeaderProtocol, LeanProtocol, Protocol
from tidings.rpc.wire.transport import SocketTransport
from tidings_idl.recommend.ttypes import Article, ArticleResponse, Track, UserRequest
from tidings_idl.recommend.UserRecommend import user_recommend_args, user_recommend_result

LIMITS = Limits()
I64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=80)
TRACKS = st.builds(Track, click=TEXT, collect=TEXT, reading=TEXT, liking=TEXT, dislike=TEXT)
ARTICLES = st.builds(Article, article_id=I64, track=TRACKS)
RESPONSES = st.builds(
    ArticleResponse, exposure=TEXT, time_stamp=I64, recommends=st.lists(ARTICLES, max_size=12)
)
HEADERS = st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(max_size=127), max_size=5)
LONG_HEADERS = st.dictionaries(
    st.binary(min_size=1, max_size=200), st.binary(max_size=300), max_size=5
)
SEQIDS = st.integers(0, 2**31 - 1)


@contextmanager
def wire() -> Iterator[tuple[SocketTransport, SocketTransport]]:
    """Two connected ends with a deadline."""
    near, far = socket.socketpair()
    ends = SocketTransport(near, LIMITS.message_bytes), SocketTransport(far, LIMITS.message_bytes)
    for end in ends:
        end.begin_message(time.monotonic() + 60)
    try:
        yield ends
    finally:
        near.close()
        far.close()


def written(protocol: Protocol, headers: dict[bytes, bytes], seqid: int, struct: object) -> None:
    for name, value in headers.items():
        protocol.set_header(name, value)
    protocol.send("user_recommend", TMessageType.CALL, seqid, struct)


def bytes_of(kind: type[LeanProtocol] | type[HeaderProtocol], *message: object) -> bytes:
    with wire() as (near, far):
        written(kind(near, ANY_DIALECT, LIMITS), *message)  # type: ignore[arg-type]
        size = far.readAll(4)
        return size + far.readAll(int.from_bytes(size))


@given(
    LONG_HEADERS,
    SEQIDS,
    st.builds(UserRequest, I64, st.integers(-(2**31), 2**31 - 1), st.just(10), I64),
)
def test_a_request_is_the_same_bytes_both_ways(
    headers: dict[bytes, bytes], seqid: int, request: UserRequest
) -> None:
    """Headers, padding and all: no peer can tell which way a client writes."""
    message = headers, seqid, user_recommend_args(request)

    assert bytes_of(LeanProtocol, *message) == bytes_of(HeaderProtocol, *message)


@given(HEADERS, SEQIDS, RESPONSES)
def test_a_response_is_the_same_bytes_both_ways(
    headers: dict[bytes, bytes], seqid: int, response: ArticleResponse
) -> None:
    message = headers, seqid, user_recommend_result(response)

    assert bytes_of(LeanProtocol, *message) == bytes_of(HeaderProtocol, *message)


@given(HEADERS, SEQIDS, RESPONSES)
def test_what_one_way_writes_the_other_reads(
    headers: dict[bytes, bytes], seqid: int, response: ArticleResponse
) -> None:
    for writer, reader in ((LeanProtocol, HeaderProtocol), (HeaderProtocol, LeanProtocol)):
        with wire() as (near, far):
            written(
                writer(near, ANY_DIALECT, LIMITS), headers, seqid, user_recommend_result(response)
            )
            protocol = reader(far, ANY_DIALECT, LIMITS)
            begin = protocol.readMessageBegin()
            result = user_recommend_result()
            result.read(protocol)

            assert begin == ("user_recommend", TMessageType.CALL, seqid)
            assert result.success == response
            assert protocol.headers() == headers
            assert not protocol.has_unread()


@given(st.binary(max_size=60), st.booleans())
def test_garbage_is_never_read_as_something_else_than_stock_thrift_reads(
    garbage: bytes, framed: bool
) -> None:
    """What the lean way accepts, the stock way reads as the same message; all else is left to
    that."""
    data = len(garbage).to_bytes(4) + garbage if framed else garbage.ljust(4, b"\0")
    outcomes: list[object] = []
    for reader in (LeanProtocol, HeaderProtocol):
        with wire() as (near, far):
            near.write(data)
            near.abort()
            try:
                outcomes.append(reader(far, ANY_DIALECT, LIMITS).readMessageBegin())
            except UnusualError:
                return
            except Exception as ex:  # noqa: BLE001 - that it fails is the outcome
                outcomes.append(type(ex))
    lean, stock = outcomes

    assert lean == stock or (isinstance(lean, type) and isinstance(stock, type))


def test_what_is_unusual_is_left_to_be_read_by_the_stock_protocol() -> None:
    """An unframed message begins like a frame of two gigabytes; not a byte of it may be lost."""
    with wire() as (near, far):
        near.write(b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x07\x00")
        with pytest.raises(UnusualError):
            LeanProtocol(far, ANY_DIALECT, LIMITS).readMessageBegin()

        assert HeaderProtocol(far, ANY_DIALECT, LIMITS).readMessageBegin() == (
            "ping",
            TMessageType.CALL,
            7,
        )


def test_a_message_that_is_too_long_to_send_is_refused_before_a_byte_has_left() -> None:
    """As by the stock protocol: the caller's fault, and the connection is as good as before."""
    with wire() as (near, far):
        protocol = LeanProtocol(near, ANY_DIALECT, Limits(message_bytes=100))
        with pytest.raises(TTransportException, match="too large"):
            written(protocol, {}, 1, user_recommend_result(ArticleResponse("x" * 200, 0, [])))
        protocol.start_over()

        assert near.sent_bytes == 0
        assert far.is_quiet()
