"""TLS with a certificate on both sides: who is let in, who is not, and that the others do not
notice."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from tests.integration.rpc.conftest import Connect, Serve, echo
from tests.integration.rpc.peers import PATIENCE_S, Peer, dialled, is_closed, request_frame
from tests.lab.authority import Authority
from tests.lab.servers import wait_until
from tidings.process.errors import SettingsError
from tidings.rpc.errors import TransportFaultError
from tidings.rpc.tls import (
    TlsFiles,
    TlsOptions,
    client_tls,
    make_client_tls,
    make_server_context,
    server_context,
)
from tidings.rpc.wire.protocol import HeaderProtocol
from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> TlsFiles:
    """The recommender's; a client's would do as well."""
    return authority.sign("recommender.internal")


@pytest.fixture(scope="module")
def client_files(authority: Authority) -> TlsFiles:
    return authority.sign("gateway.internal")


def refused() -> float:
    return (
        REGISTRY.get_sample_value("tidings_rpc_server_connections_broken_total", {"why": "tls"})
        or 0.0
    )


# Good pairs.


@pytest.mark.parametrize("name", ["", "recommender.internal"])
@pytest.mark.parametrize("stock", [[], ["calling.connection"], ["wire.protocol"]])
def test_a_good_pair_talks(
    serve: Serve,
    connect: Connect,
    ours: TlsFiles,
    client_files: TlsFiles,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stock: list[str],
) -> None:
    """Each side shows its certificate; a name is checked where one is wanted. The connection is
    kept and used again. On either side the stock way of speaking may stand for ours."""
    for side in stock:
        monkeypatch.setattr(f"tidings.rpc.{side}.LeanProtocol", HeaderProtocol)
    running = serve(tls=server_context(ours))
    client = connect(
        running.endpoint, tls=client_tls(replace(client_files, name=name)), pool_size=1
    )

    for user_id in range(1, 6):
        assert client.call("user_recommend", UserRequest(user_id=user_id)).exposure == str(user_id)
    assert len(running.server._connections) == 1


def test_a_long_reply_comes_whole(
    serve: Serve, connect: Connect, ours: TlsFiles, client_files: TlsFiles
) -> None:
    """Longer than a record of TLS, and longer than the kernel's buffers hold at once."""
    long = "x" * 60_000

    def recommend(request: UserRequest) -> ArticleResponse:
        return ArticleResponse(exposure=long, time_stamp=request.user_id, recommends=[])

    running = serve(recommend, tls=server_context(ours))
    client = connect(running.endpoint, tls=client_tls(client_files), pool_size=1)

    for user_id in (1, 2, 3):
        answer = client.call("user_recommend", UserRequest(user_id=user_id))
        assert (answer.exposure, answer.time_stamp) == (long, user_id)


def test_nothing_older_than_tls_1_2_is_spoken(ours: TlsFiles) -> None:
    assert server_context(ours).minimum_version == ssl.TLSVersion.TLSv1_2
    assert client_tls(ours).context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_drain_answers_in_tls(
    serve: Serve, connect: Connect, ours: TlsFiles, client_files: TlsFiles
) -> None:
    """Trap: `SSLSocket.shutdown` drops the TLS layer, and the reply in the making would leave in
    plain text."""
    entered, open_ = threading.Event(), threading.Event()

    def recommend(request: UserRequest) -> ArticleResponse:
        entered.set()
        open_.wait(PATIENCE_S)
        return echo(request)

    running = serve(recommend, tls=server_context(ours))
    client = connect(running.endpoint, tls=client_tls(client_files))
    answers: list[str] = []
    busy = threading.Thread(
        target=lambda: answers.append(
            client.call("user_recommend", UserRequest(user_id=1)).exposure
        )
    )
    busy.start()
    assert entered.wait(PATIENCE_S)
    running.server.drain()
    wait_until(lambda: running.server.serverTransport.fileno() < 0, PATIENCE_S, "the drain")
    time.sleep(0.05)
    open_.set()
    busy.join()
    running.join()

    assert answers == ["1"]


# Those who are not let in. Each time somebody else's call goes on as if nothing were.


@pytest.mark.parametrize("kind", ["none", "wrong authority", "expired", "a server's"])
def test_a_client_without_a_good_certificate_is_refused(
    serve: Serve,
    connect: Connect,
    authority: Authority,
    ours: TlsFiles,
    client_files: TlsFiles,
    tmp_path: Path,
    kind: str,
) -> None:
    """At once, before a byte of its request is looked at; the operator sees how many there were."""
    running = serve(tls=server_context(ours), io_timeout_s=3600)
    good = connect(running.endpoint, tls=client_tls(client_files))
    good.call("user_recommend", UserRequest(user_id=1))
    before = refused()
    if kind == "none":
        tls = client_tls(client_files)
        tls = replace(tls, context=ssl.create_default_context(cafile=str(authority.cert)))
        tls.context.check_hostname = False
    elif kind == "expired":
        tls = client_tls(authority.sign("late.internal", expired=True))
    elif kind == "a server's":
        tls = client_tls(authority.sign("recommender.other", purposes="serverAuth"))
    else:
        tls = client_tls(
            replace(Authority(tmp_path, "stranger").sign("gateway.internal"), ca=authority.cert)
        )
    bad = connect(running.endpoint, tls=tls)

    with pytest.raises(TransportFaultError):
        bad.call("user_recommend", UserRequest(user_id=2))
    wait_until(lambda: refused() == before + 1, PATIENCE_S, "the count")
    assert good.call("user_recommend", UserRequest(user_id=3)).exposure == "3"


def test_a_client_that_speaks_plain_text_is_refused(
    serve: Serve, connect: Connect, ours: TlsFiles, client_files: TlsFiles
) -> None:
    """It gets no answer to its request, and the connection is closed at once."""
    running = serve(tls=server_context(ours))
    good = connect(running.endpoint, tls=client_tls(client_files))
    good.call("user_recommend", UserRequest(user_id=1))
    before = refused()
    with dialled(running.endpoint) as sock:
        sock.sendall(request_frame())
        received = b""
        try:
            while data := sock.recv(4096):
                received += data
        except ConnectionError:
            pass
    assert b"user_recommend" not in received
    assert refused() == before + 1
    with pytest.raises(TransportFaultError):
        connect(running.endpoint).call("user_recommend", UserRequest(user_id=2))
    assert good.call("user_recommend", UserRequest(user_id=3)).exposure == "3"


def test_a_handshake_that_does_not_come_is_not_waited_for(
    serve: Serve, connect: Connect, ours: TlsFiles, client_files: TlsFiles
) -> None:
    """Silent, or one byte and then silent: its own thread waits, for a while, and accepting goes
    on."""
    patient = serve(tls=server_context(ours), io_timeout_s=3600)
    good = connect(patient.endpoint, tls=client_tls(client_files))
    with dialled(patient.endpoint), dialled(patient.endpoint) as slow:
        slow.sendall(b"\x16")
        assert good.call("user_recommend", UserRequest(user_id=1)).exposure == "1"
    running = serve(tls=server_context(ours), io_timeout_s=0.3)
    wait_until(lambda: len(patient.server._connections) == 1, PATIENCE_S, "the end of the others")
    before = refused()
    with dialled(running.endpoint) as silent, dialled(running.endpoint) as slow:
        slow.sendall(b"\x16")
        assert is_closed(silent)
        assert is_closed(slow)
    assert refused() == before + 2


# Servers that are not to be trusted.


@pytest.mark.parametrize("kind", ["wrong authority", "expired", "other name", "plain text"])
def test_a_server_without_a_good_certificate_gets_no_request(
    serve: Serve,
    connect: Connect,
    authority: Authority,
    client_files: TlsFiles,
    tmp_path: Path,
    kind: str,
) -> None:
    """The failure says that nothing was sent, so the call may be tried elsewhere."""
    asked: list[int] = []

    def recommend(request: UserRequest) -> ArticleResponse:
        asked.append(request.user_id)
        return echo(request)

    tls = None
    if kind == "expired":
        tls = server_context(authority.sign("recommender.old", expired=True))
    elif kind == "wrong authority":
        stranger = Authority(tmp_path, "stranger").sign("recommender.internal")
        tls = server_context(replace(stranger, ca=authority.cert))
    elif kind == "other name":
        tls = server_context(authority.sign("elsewhere.internal"))
    running = serve(recommend, tls=tls)
    client = connect(
        running.endpoint, tls=client_tls(replace(client_files, name="recommender.internal"))
    )

    with pytest.raises(TransportFaultError) as ex:
        client.call("user_recommend", UserRequest(user_id=1))
    assert not ex.value.sent
    assert asked == []


@pytest.mark.parametrize("purposes", ["clientAuth", ""])
def test_without_a_name_the_server_has_to_be_one(
    serve: Serve, connect: Connect, authority: Authority, client_files: TlsFiles, purposes: str
) -> None:
    """Trap: any certificate of the authority's would do, and a client's that names no purpose
    could answer as the recommender."""
    running = serve(tls=server_context(authority.sign("gateway.other", purposes=purposes)))
    client = connect(running.endpoint, tls=client_tls(client_files))

    with pytest.raises(TransportFaultError, match=r"(?i)purpose|serverAuth") as ex:
        client.call("user_recommend", UserRequest(user_id=1))
    assert not ex.value.sent


def test_with_a_name_the_certificate_need_not_name_its_purpose(
    serve: Serve, connect: Connect, authority: Authority, client_files: TlsFiles
) -> None:
    """The name is proof enough, and certificates without a purpose are common."""
    running = serve(tls=server_context(authority.sign("recommender.plain", purposes="")))
    client = connect(
        running.endpoint, tls=client_tls(replace(client_files, name="recommender.plain"))
    )

    assert client.call("user_recommend", UserRequest(user_id=1)).exposure == "1"


@pytest.mark.parametrize("purposes", ["critical,serverAuth", "clientAuth,serverAuth"])
def test_a_servers_certificate_is_known_in_every_form(
    serve: Serve, connect: Connect, authority: Authority, client_files: TlsFiles, purposes: str
) -> None:
    running = serve(tls=server_context(authority.sign("recommender.form", purposes=purposes)))
    client = connect(running.endpoint, tls=client_tls(client_files))

    assert client.call("user_recommend", UserRequest(user_id=1)).exposure == "1"


def test_a_server_that_does_not_shake_hands_costs_no_more_than_a_connection_may(
    connect: Connect, client_files: TlsFiles
) -> None:
    """It accepts and says nothing; the connect time-out covers the handshake."""
    with Peer(lambda conversation: conversation.hold()) as peer:
        client = connect(peer.endpoint, tls=client_tls(client_files), connect_timeout_ms=100)
        # And not by the deadline, which is far away.
        with pytest.raises(TransportFaultError, match="cannot connect"):
            client.call("user_recommend", UserRequest(user_id=1))


# By choice of an operator.


def test_plain_text_stays_on_this_machine_unless_allowed() -> None:
    """One line that names the setting, at start, on both sides."""
    nothing = TlsOptions(prefix="TIDINGS_RECOMMENDER_")
    for bind in ("0.0.0.0:9090", "10.1.2.3:9090", "[::]:9090"):
        with pytest.raises(
            SettingsError, match=r"^TIDINGS_RECOMMENDER_BIND: .*TIDINGS_RECOMMENDER_ALLOW_PLAINTEXT"
        ):
            make_server_context(nothing, bind)
    for endpoint in ("recommender.internal:9090", "192.168.1.9:9090"):
        endpoints = ("127.0.0.1:9090", endpoint)
        with pytest.raises(
            SettingsError, match=rf"^TIDINGS_RECOMMENDER_ENDPOINTS: {endpoint} .*TLS_CERT"
        ):
            make_client_tls(nothing, endpoints)
        assert make_client_tls(TlsOptions(allow_plaintext=True), endpoints) is None


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/run/s"]
)
def test_plain_text_may_be_spoken_here(endpoint: str) -> None:
    assert make_server_context(TlsOptions(), endpoint) is None
    assert make_client_tls(TlsOptions(), (endpoint,)) is None


def test_files_that_cannot_be_used_are_one_clear_line(
    ours: TlsFiles, client_files: TlsFiles, tmp_path: Path
) -> None:
    """Not there, not a certificate, and another's key; under the name that a second service's
    settings have as well."""
    good = TlsOptions(cert=ours.cert, key=ours.key, ca=ours.ca, prefix="TIDINGS_CHAT_")
    garbage = tmp_path / "garbage"
    garbage.write_text("garbage")
    assert make_server_context(good, "0.0.0.0:9090") is not None
    for wrong in (
        replace(good, cert=tmp_path / "missing"),
        replace(good, ca=garbage),
        replace(good, key=client_files.key),
    ):
        with pytest.raises(
            SettingsError, match=r"^TIDINGS_CHAT_TLS_CERT, _KEY and _CA: cannot use .*: \S"
        ):
            make_client_tls(wrong, ("127.0.0.1:1",))
    with pytest.raises(SettingsError, match=r"^TIDINGS_CHAT_TLS_KEY: not set"):
        make_server_context(replace(good, key=None), "127.0.0.1:1")


def test_over_a_unix_socket_too(
    serve: Serve, connect: Connect, ours: TlsFiles, client_files: TlsFiles, tmp_path: Path
) -> None:
    """It is not needed there, and does no harm."""
    running = serve(bind=f"unix:{tmp_path}/s", tls=server_context(ours))
    with socket.socket(socket.AF_UNIX):
        client = connect(running.endpoint, tls=client_tls(client_files))
        assert client.call("user_recommend", UserRequest(user_id=1)).exposure == "1"
