"""One call from end to end: what goes in comes out, from every kind of client and at every kind of
end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from thrift.protocol.TBinaryProtocol import TBinaryProtocol, TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocol, TCompactProtocolAccelerated
from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.THeaderTransport import THeaderSubprotocolID
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TFramedTransport, TTransportException

from tests.integration.rpc.conftest import Connect, Serve, echo
from tests.integration.rpc.peers import HEADERS, PATIENCE_S, dialled, header_frame, request_frame
from tidings.rpc import errors
from tidings.rpc.errors import CallerFaultError, ExpectedError, ServerFaultError
from tidings.rpc.wire import transport
from tidings_idl.base.ttypes import Error
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import (
    Article,
    ArticleResponse,
    Event,
    ReportRequest,
    Track,
    UserRequest,
    Verdict,
)
from tidings_idl.recommend.UserRecommend import user_recommend_args

FULL = ArticleResponse(
    exposure="batch",
    time_stamp=1_700_000_000_000,
    recommends=[Article(n, Track(f"c{n}", f"l{n}", "é", "")) for n in range(100)],
)


def test_a_value_comes_back_as_the_handler_returned_it(serve: Serve, connect: Connect) -> None:
    """Structs, lists, text beyond ASCII and 64-bit numbers, in both directions."""
    asked: list[UserRequest] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        asked.append(request)
        return FULL

    client = connect(serve(recommend).endpoint)
    request = UserRequest(user_id=2**62, channel_id=7, article_num=100, time_stamp=-1)

    assert client.call("user_recommend", request) == FULL
    assert asked == [request]
    events = ReportRequest([Event("a", 1), Event("b", 2, read_ms=3)])
    assert client.call("report", events).verdicts == [Verdict.ACCEPTED, Verdict.ACCEPTED]


@pytest.mark.parametrize(
    ("wrap", "speak"),
    [
        pytest.param(TFramedTransport, TBinaryProtocol, id="framed-binary"),
        pytest.param(TFramedTransport, TBinaryProtocolAccelerated, id="framed-binary-c"),
        pytest.param(TBufferedTransport, TBinaryProtocol, id="buffered-binary"),
        pytest.param(TBufferedTransport, TBinaryProtocolAccelerated, id="buffered-binary-c"),
        pytest.param(TFramedTransport, TCompactProtocol, id="framed-compact"),
        pytest.param(TBufferedTransport, TCompactProtocolAccelerated, id="buffered-compact-c"),
        pytest.param(
            lambda plain: plain, lambda plain: THeaderProtocol(plain, HEADERS), id="header-binary"
        ),
        pytest.param(
            lambda plain: plain,
            lambda plain: THeaderProtocol(
                plain, HEADERS, default_protocol=THeaderSubprotocolID.COMPACT
            ),
            id="header-compact",
        ),
    ],
)
def test_one_port_answers_every_dialect(
    serve: Serve, wrap: Callable[[Any], Any], speak: Callable[[Any], Any]
) -> None:
    """Trap: two ends with different transports fail obscurely. Stock generated clients of any kind
    get answers."""

    def recommend(request: UserRequest) -> ArticleResponse:
        if request.user_id == 404:
            raise errors.not_found("nobody")
        return FULL

    plain = TSocket("127.0.0.1", serve(recommend).server.port)
    plain.setTimeout(PATIENCE_S * 1000)
    wrapped = wrap(plain)
    wrapped.open()
    client = UserRecommend.Client(speak(wrapped))
    try:
        for _ in range(3):
            assert client.user_recommend(UserRequest(user_id=1)) == FULL
            with pytest.raises(Error) as caught:
                client.user_recommend(UserRequest(user_id=404))
            assert (caught.value.code, caught.value.message) == (404, "nobody")
    finally:
        wrapped.close()


def test_unix_sockets_serve_like_tcp(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """Processes on one host need no TCP."""
    client = connect(serve(bind=f"unix:{tmp_path}/s").endpoint)

    assert client.call("user_recommend", UserRequest(user_id=3)).exposure == "3"


def test_ipv6_serves_like_ipv4(serve: Serve, connect: Connect) -> None:
    """Trap: `localhost` is ::1 for one resolver and 127.0.0.1 for another. A literal is what it
    says."""
    client = connect(serve(bind="[::1]:0").endpoint)

    assert client.call("user_recommend", UserRequest(user_id=3)).exposure == "3"


def test_one_client_serves_many_threads(serve: Serve, connect: Connect) -> None:
    """Trap: one stock client shared by four threads got hundreds of wrong replies out of 800."""
    client = connect(serve().endpoint, pool_size=4)

    def ask(user_id: int) -> bool:
        return bool(
            client.call("user_recommend", UserRequest(user_id=user_id)).exposure == str(user_id)
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(800)))


def test_both_ends_switch_nagle_off(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: lib/py never sets TCP_NODELAY; with delayed acknowledgements a call took 89 ms instead
    of 0.2."""
    switched_off = []
    original = transport.SocketTransport.__init__

    def spy(self: Any, sock: Any, *rest: Any, **named: Any) -> None:
        original(self, sock, *rest, **named)
        switched_off.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)

    monkeypatch.setattr(transport.SocketTransport, "__init__", spy)
    connect(serve().endpoint).call("user_recommend", UserRequest(user_id=1))

    assert switched_off == [True, True]


# Whose fault it is.


class UnknownChannelError(Exception):
    pass


class RetiredChannelError(UnknownChannelError):
    pass


@pytest.mark.parametrize(
    ("raised", "tier", "code"),
    [
        (errors.invalid({"user_id": "above 0"}), CallerFaultError, 422),
        (errors.error(400, "no"), CallerFaultError, 400),
        (errors.not_found("gone"), ExpectedError, 404),
        (errors.error(409, "twice"), ExpectedError, 409),
        (errors.unavailable("full"), ServerFaultError, 503),
        (errors.error(500, "sorry"), ServerFaultError, 500),
        (errors.error(7, "nonsense"), ServerFaultError, 7),
        (RetiredChannelError("10"), CallerFaultError, 422),
    ],
)
def test_a_declared_failure_keeps_its_tier_across_the_wire(
    serve: Serve, connect: Connect, raised: Exception, tier: type[errors.RpcError], code: int
) -> None:
    """An IDL error, or a domain exception (or a subclass of it) that the server was told how to
    translate."""

    def recommend(_: UserRequest) -> None:
        raise raised

    table = {UnknownChannelError: lambda ex: errors.invalid({"channel_id": f"unknown: {ex}"})}
    client = connect(serve(recommend, errors=table).endpoint)

    with pytest.raises(errors.RpcError) as caught:
        client.call("user_recommend", UserRequest())

    assert type(caught.value) is tier
    assert caught.value.code == code
    if isinstance(raised, UnknownChannelError):
        assert caught.value.details == {"channel_id": "unknown: 10"}
    elif raised.details:  # type: ignore[attr-defined]
        assert caught.value.details == {"user_id": "above 0"}


def _wrong_type() -> ArticleResponse:
    return {"exposure": "x"}  # type: ignore[return-value]


def _out_of_range() -> ArticleResponse:
    return ArticleResponse(exposure="x", time_stamp=2**70, recommends=[])


def _too_long() -> ArticleResponse:
    return ArticleResponse(exposure="x" * 2 * 1024 * 1024, time_stamp=0, recommends=[])


def _exit() -> ArticleResponse:
    raise SystemExit(3)


def _downstream() -> ArticleResponse:
    raise TTransportException(TTransportException.END_OF_FILE, "of a server further back: secret")


def _bug() -> ArticleResponse:
    raise KeyError("secret")


@pytest.mark.parametrize(
    "misbehave",
    [
        pytest.param(lambda: None, id="returns None"),
        pytest.param(_wrong_type, id="returns another type"),
        pytest.param(_out_of_range, id="returns a number too large for its field"),
        pytest.param(_too_long, id="returns more than a frame holds"),
        pytest.param(_exit, id="calls sys.exit"),
        pytest.param(_downstream, id="lets a transport error out"),
        pytest.param(_bug, id="has a bug"),
    ],
)
def test_whatever_a_handler_does_the_caller_gets_an_answer(
    serve: Serve, connect: Connect, misbehave: Callable[[], Any]
) -> None:
    """Traps: None is MISSING_RESULT, a wrong type or a downstream transport error closes the
    connection without a log line, half an encoded reply spoils the next one, and SystemExit leaves
    the caller waiting."""

    def recommend(request: UserRequest) -> Any:
        return echo(request) if request.user_id else misbehave()

    client = connect(serve(recommend).endpoint, pool_size=1)
    before = _counted("server", "unclassified"), _counted("client", "server_fault")
    with capture_logs() as logs:
        with pytest.raises(ServerFaultError) as caught:
            client.call("user_recommend", UserRequest(user_id=0))
        assert caught.value.message == "user_recommend: internal error"
        # On the one connection there is: what was left of the failed reply would be read here.
        assert client.call("user_recommend", UserRequest(user_id=9)).exposure == "9"
    (line,) = [line for line in logs if line["event"] == "rpc_call" and line["outcome"] != "ok"]
    assert (line["outcome"], line["log_level"]) == ("unclassified", "error")
    assert isinstance(line["exc_info"], BaseException)
    assert (_counted("server", "unclassified"), _counted("client", "server_fault")) == (
        before[0] + 1,
        before[1] + 1,
    )


def _counted(side: str, outcome: str) -> float:
    labels = {"method": "user_recommend", "outcome": outcome}
    return REGISTRY.get_sample_value(f"tidings_rpc_{side}_calls_total", labels) or 0.0


def test_a_bug_in_a_translation_is_an_internal_error(serve: Serve, connect: Connect) -> None:
    """The table is code too, and the caller waits for an answer all the same."""

    def recommend(_: UserRequest) -> None:
        raise UnknownChannelError("10")

    client = connect(
        serve(recommend, errors={UnknownChannelError: lambda ex: ex.no_such_field}).endpoint
    )

    with pytest.raises(ServerFaultError, match="internal error"):
        client.call("user_recommend", UserRequest())


def test_an_error_passes_through_context_managers(serve: Serve, connect: Connect) -> None:
    """Trap: exceptions from compiler 0.17 are frozen, and `@contextmanager` fails to set their
    traceback."""

    @contextlib.contextmanager
    def block() -> Any:
        yield

    def recommend(_: UserRequest) -> None:
        with block():
            raise errors.not_found("here")

    with pytest.raises(ExpectedError, match="here"):
        connect(serve(recommend).endpoint).call("user_recommend", UserRequest())


def test_an_unknown_method_is_said_to_be_unknown(serve: Serve, connect: Connect) -> None:
    """A newer client's method: an answer, and the connection goes on."""
    with dialled(serve().endpoint) as sock:
        sock.sendall(
            header_frame(
                "foretell", TMessageType.CALL, 5, user_recommend_args(UserRequest(user_id=1))
            )
        )
        plain = TSocket()
        plain.setHandle(sock)
        protocol = THeaderProtocol(plain, HEADERS)
        assert protocol.readMessageBegin() == ("foretell", TMessageType.EXCEPTION, 5)
        failure = TApplicationException()
        failure.read(protocol)
        assert failure.type == TApplicationException.UNKNOWN_METHOD
        sock.sendall(request_frame())
        assert protocol.readMessageBegin()[0] == "user_recommend"
