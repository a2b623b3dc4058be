"""A `TThreadedServer` fit to run: it says no in time, and stops without losing a call.

Thrift's own accepts without limit, waits on silent peers for ever, spins when file descriptors run
out and cannot be stopped. A thread for each connection is kept, because clients pool their
connections and a thread that waits in `recv` costs nothing. Rejected: a pool of threads, in which
idle connections starve the busy ones.

    server = make_server(UserRecommend, handler, "127.0.0.1:9090")
    signal.signal(signal.SIGTERM, lambda *_: server.drain())
    server.serve()
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import ModuleType

import structlog
from prometheus_client import Counter
from thrift.server.TServer import TThreadedServer
from thrift.transport.TTransport import TTransportException, TTransportFactoryBase

from tidings.process.handover import Handover
from tidings.process.listening import listen
from tidings.process.logs import SeldomLog
from tidings.process.tally import hand_over_all
from tidings.rpc.errors import ErrorTable
from tidings.rpc.serving.connections import Connections, Verdict
from tidings.rpc.serving.dispatch import Dispatcher
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.wire.codec import require_codec
from tidings.rpc.wire.foreign import DialectError, recognise
from tidings.rpc.wire.headers import SERVER_LEAVES, WORKER_LEAVES, UnusualError
from tidings.rpc.wire.limits import Limits
from tidings.rpc.wire.protocol import ProtocolFactory
from tidings.rpc.wire.service import methods_of
from tidings.rpc.wire.transport import HandshakeFailedError, Listener, SocketTransport
from tidings_idl.base.ttypes import HealthProbe

_BROKEN = Counter(
    "tidings_rpc_server_connections_broken", "Connections that ended inside a message", ["why"]
)
_ACCEPT_ERRORS = Counter("tidings_rpc_server_accept_errors", "Failed accepts", ["error"])

_log = structlog.get_logger()
_seldom = SeldomLog(_log)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_LOOK_EVERY_S = 0.1


class Server(TThreadedServer):  # type: ignore[misc]  # thrift has no annotations
    """Made by `make_server`. `serve` returns once `drain` or `retire` was called and all is
    done."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        listener: Listener,
        *,
        limits: Limits,
        options: ServerOptions,
        tls: ssl.SSLContext | None = None,
        is_fit: Callable[[], bool] = lambda: True,
        handover: Handover | None = None,
    ) -> None:
        # NOTE: TServer counts these arguments, and with three or five of them silently sets
        # nothing.
        super().__init__(
            dispatcher,
            listener,
            TTransportFactoryBase(),
            ProtocolFactory(limits),
            daemon=True,
        )
        self._options = options
        self._tls = tls
        self._is_fit = is_fit
        self._handover = handover
        # What a connection of TLS has agreed on cannot be given to another process.
        self._gives_away = handover is not None and tls is None
        self._connections = Connections(
            most=options.max_connections, most_turned_away=options.max_turned_away
        )
        self._started = False
        self._draining = False
        self._retiring = False
        self._starved_until_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._waker, self._wake = socket.socketpair()
        self._waker.setblocking(False)
        self._wake.setblocking(False)
        # Readable from the moment at which connections are given away.
        self._leave, self._leaver = socket.socketpair()
        self._leaver.setblocking(False)

    @property
    def port(self) -> int:
        """The TCP port it listens on, which the system chose if 0 was asked for."""
        return int(self.serverTransport.port)

    def is_ready(self) -> bool:
        """May it be sent work: started, fit, not draining, not overloaded."""
        return (
            self._started
            and self._is_fit()
            and not self.is_stopping
            and not self.processor.is_full
            and not self._connections.is_full
            and time.monotonic() >= self._starved_until_s
        )

    @property
    def is_stopping(self) -> bool:
        """It was told to drain or to retire."""
        return self._draining or self._retiring

    def drain(self) -> None:
        """Make `serve` return soon, with every call answered. Takes no lock: a signal handler may
        call it."""
        self._draining = True
        self.processor.leaving = SERVER_LEAVES
        self._wake_up()

    def retire(self) -> None:
        """Make `serve` return without a lost request, because another process has taken over the
        listening socket.

        It accepts no client any more. Each connection is given to that process between two calls.
        Where that cannot be it is served until its client leaves: one of ours does with its next
        reply, and an idle one has to outlive its client's wish to use it. Takes no lock.
        """
        self._retiring = True
        if self._gives_away:
            self._tell(self._leaver)
        else:
            self.processor.leaving = self.processor.leaving or WORKER_LEAVES
        self._wake_up()

    def _wake_up(self) -> None:
        self._tell(self._waker)

    def _tell(self, sock: socket.socket) -> None:
        try:
            sock.send(b"x")
        except OSError:
            return  # it has stopped already, or was told so often that it cannot have missed it

    def serve(self) -> None:
        """Serve until drained. Call it in the main thread, where signals arrive.

        Raises:
            SettingsError: another program listens on the address.
        """
        self.serverTransport.listen()
        self._started = True
        _log.info("rpc_server_started", port=self.port)
        try:
            self._accept_until(lambda: self.is_stopping)
            if self._retiring:
                self._outlive_connections()
            else:
                self._serve_drain_window()
        finally:
            self._draining = True
            self.serverTransport.close()
            lost = self._connections.finish(self._options.drain_timeout_s)
            self._waker.close()
            self._wake.close()
            self._leaver.close()
            self._leave.close()
            hand_over_all()
            _log.info("rpc_server_stopped", connections_cut=lost)

    def _serve_drain_window(self) -> None:
        _log.info("rpc_server_draining", connections=len(self._connections))
        window_ends_s = time.monotonic() + self._options.drain_window_s
        self._accept_until(lambda: time.monotonic() >= window_ends_s, window_ends_s)
        while self._accept():  # a client that connected at the last moment may have asked already
            pass

    def _outlive_connections(self) -> None:
        _log.info("rpc_server_retiring", connections=len(self._connections))
        self.serverTransport.close()
        ends_s = time.monotonic() + self._options.idle_timeout_s + _LONGEST_PAUSE_S
        while time.monotonic() < ends_s and not self._connections.wait_until_none(_LOOK_EVERY_S):
            if self._draining:
                if not self._gives_away:
                    return
                ends_s = min(ends_s, time.monotonic() + self._options.drain_timeout_s)

    def handle(self, client: SocketTransport) -> None:
        """Answer one connection's calls, one after another, until either side has had enough or
        another process goes on with it."""
        protocol = self.inputProtocolFactory.getProtocol(client)
        leave = self._leave.fileno() if self._gives_away else -1
        while client.await_message(self._options.idle_timeout_s, leave):
            try:
                self.processor.process(protocol)
            except UnusualError:
                self._refuse_foreign(client)
                protocol = self.inputProtocolFactory.get_stock_protocol(client)
                self.processor.process(protocol)
            if self._retiring and self._gives_away:
                break
        if self._retiring and self._handover is not None and self._gives_away:
            # One whose client has gone is closed by the other process as it would be by this one.
            client.give_to(self._handover)

    def _refuse_foreign(self, client: SocketTransport) -> None:
        """Raises:
        DialectError: what waits to be read is not spoken here; the peer was told.
        """
        refusal = recognise(client.peek())
        if refusal is not None:
            client.begin_message(time.monotonic() + self._options.io_timeout_s)
            client.write(refusal.answer)
            raise DialectError(refusal.dialect)

    def _turn_away(self, client: SocketTransport) -> None:
        if client.await_message(self._options.io_timeout_s):
            self.processor.process(
                self.inputProtocolFactory.get_stock_protocol(client), refusal="too many connections"
            )

    # Accepting.

    def _accept_until(self, finished: Callable[[], bool], until_s: float | None = None) -> None:
        poller = select.poll()
        doors = {self.serverTransport.fileno(): self._accept}
        if self._handover is not None:
            doors[self._handover.fileno()] = self._take_over
        for fd in (self._wake.fileno(), *doors):
            poller.register(fd, select.POLLIN)
        while not finished():
            wait_s = _LONGEST_PAUSE_S
            if until_s is not None:
                wait_s = min(wait_s, max(0.0, until_s - time.monotonic()))
            # A signal that comes just before the poll does not end it, and waits until it ends.
            for fd, _ in poller.poll(wait_s * 1000):
                if fd in doors:
                    doors[fd]()
                else:
                    self._wake.recv(64)

    def _accept(self) -> bool:
        """False if no client was there, or none can be let in."""
        try:
            client = self.serverTransport.accept()
        except (BlockingIOError, ConnectionError):
            return False  # another process was faster, or the peer has gone
        except OSError as ex:
            self._back_off(ex)
            return False
        self._pause_s = _FIRST_PAUSE_S
        verdict = self._connections.admit(client)
        if verdict is Verdict.CLOSE:
            client.close()
        else:
            self._start(self._turn_away if verdict is Verdict.TURN_AWAY else self.handle, client)
        return True

    def _take_over(self) -> bool:
        """As `_accept`, of a connection that the worker before this one gives away."""
        assert self._handover is not None
        try:
            client = self.serverTransport.take(self._handover)
        except OSError as ex:
            if not isinstance(ex, ConnectionError):
                self._back_off(ex)
            return False
        if client is None:
            return False
        self._connections.take_over(client)
        self._start(self.handle, client)
        return True

    def _start(self, serve: Callable[[SocketTransport], None], client: SocketTransport) -> None:
        thread = threading.Thread(target=self._serve_connection, args=(serve, client))
        thread.daemon = self.daemon
        try:
            thread.start()
        except RuntimeError as ex:  # the system has no more threads
            self._connections.forget(client)
            self._back_off(ex)

    def _back_off(self, ex: Exception) -> None:
        """Without it, a full table of file descriptors is an endless loop of failing accepts."""
        name = errno.errorcode.get(getattr(ex, "errno", None) or 0, type(ex).__name__)
        _ACCEPT_ERRORS.labels(name).inc()
        if time.monotonic() >= self._starved_until_s:
            _log.error("rpc_accept_failed", error=str(ex), connections=len(self._connections))
        # Not ready until accepting has gone well for a while; and one line a second at most.
        self._starved_until_s = time.monotonic() + _LONGEST_PAUSE_S + self._pause_s
        poller = select.poll()
        poller.register(self._wake.fileno(), select.POLLIN)
        poller.poll(self._pause_s * 1000)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    # Connections, each in its own thread.

    def _serve_connection(
        self, serve: Callable[[SocketTransport], None], client: SocketTransport
    ) -> None:
        try:
            if self._tls is not None:
                self._connections.begin_tls(client, self._tls)
                client.shake_hands(self._options.io_timeout_s)
            serve(client)
        except HandshakeFailedError as ex:
            _BROKEN.labels("tls").inc()
            _seldom.warning("rpc_connection_refused", error=str(ex), peer=client.peer)
        except DialectError as ex:
            _BROKEN.labels("dialect").inc()
            _seldom.warning("rpc_dialect_refused", dialect=ex.dialect, peer=client.peer)
        except TTransportException as ex:
            _BROKEN.labels(_WHY_BROKEN.get(ex.type, "io")).inc()
            _log.debug("rpc_connection_broken", error=str(ex), peer=client.peer)
        except Exception as ex:  # noqa: BLE001 - all that garbage makes of a decoder
            _BROKEN.labels("garbage").inc()
            error = f"{type(ex).__name__}: {ex}"[:200]
            _seldom.warning("rpc_connection_broken", error=error, peer=client.peer)
        finally:
            self._connections.forget(client)


_WHY_BROKEN = {
    TTransportException.TIMED_OUT: "slow",
    TTransportException.END_OF_FILE: "closed",
    TTransportException.SIZE_LIMIT: "too_long",
    TTransportException.NEGATIVE_SIZE: "garbage",
    TTransportException.INVALID_CLIENT_TYPE: "garbage",
}


def make_server(
    service: ModuleType,
    handler: object,
    bind: str | socket.socket,
    *,
    options: ServerOptions | None = None,
    errors: ErrorTable | None = None,
    tls: ssl.SSLContext | None = None,
    is_fit: Callable[[], bool] = lambda: True,
    handover: Handover | None = None,
) -> Server:
    """A server of a generated service module, listening already: who connects now waits for
    `serve`.

    Args:
        handler: has a method for each of the service's; `is_healthy` is answered for it.
        bind: `host:port` with a literal address (port 0: any), `unix:/path`, or a listening socket.
        errors: how to make an IDL `Error` of each domain exception that the handler may let out.
        tls: speak TLS only, as `tidings.rpc.tls` makes it.
        is_fit: whether what the handler works with is good enough to be asked; while it is not, the
            server serves on and is not ready.
        handover: where the worker before this one puts its connections, and this one in its turn.

    Raises:
        SettingsError: the address cannot be had, or Thrift's C codec is missing.
    """
    require_codec()
    options = options or ServerOptions()
    limits = Limits(message_bytes=options.max_frame_bytes)
    server: Server

    def answer_probe(probe: int) -> bool:
        return _PROBES.get(probe, Server.is_ready)(server)

    dispatcher = Dispatcher(
        methods_of(service),
        handler,
        errors=errors or {},
        rules=options.call_rules(),
        answer_probe=answer_probe,
    )
    sock = listen(bind) if isinstance(bind, str) else bind
    listener = Listener(sock, options.max_frame_bytes)
    server = Server(
        dispatcher,
        listener,
        limits=limits,
        options=options,
        tls=tls,
        is_fit=is_fit,
        handover=handover,
    )
    return server


_PROBES: Mapping[int, Callable[[Server], bool]] = {
    HealthProbe.READINESS: Server.is_ready,
    HealthProbe.LIVENESS: lambda _: True,
    HealthProbe.STARTUP: lambda server: server._started,
}
