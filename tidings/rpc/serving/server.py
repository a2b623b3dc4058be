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

import contextvars
import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

import structlog
from prometheus_client import Counter, Gauge
from thrift.server.TServer import TThreadedServer
from thrift.transport.TTransport import TTransportException, TTransportFactoryBase

from tidings.process.listening import listen
from tidings.process.tally import hand_over_all
from tidings.rpc.errors import ErrorTable
from tidings.rpc.serving.dispatch import CallRules, Dispatcher
from tidings.rpc.wire.codec import require_codec
from tidings.rpc.wire.headers import SERVER_LEAVES, WORKER_LEAVES, UnusualError
from tidings.rpc.wire.limits import Limits
from tidings.rpc.wire.protocol import ProtocolFactory
from tidings.rpc.wire.service import methods_of
from tidings.rpc.wire.transport import HandshakeFailedError, Listener, SocketTransport
from tidings_idl.base.ttypes import HealthProbe

_CONNECTIONS = Gauge(
    "tidings_rpc_server_connections", "Open connections", multiprocess_mode="livesum"
)
_REJECTED = Counter("tidings_rpc_server_connections_rejected", "Connections over the cap", ["how"])
_BROKEN = Counter(
    "tidings_rpc_server_connections_broken", "Connections that ended inside a message", ["why"]
)
_ACCEPT_ERRORS = Counter("tidings_rpc_server_accept_errors", "Failed accepts", ["error"])

_log = structlog.get_logger()
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How much a server takes on, and how long it waits.

    Attributes:
        max_connections: at least the sum of the sizes of all clients' pools; a thread each.
        max_turned_away: connections over the cap that are told so at once; those beyond are just
            closed.
        max_in_flight: calls answered at once; the next one gets a retryable 503.
        idle_timeout_s: a connection without a call for so long is closed; above the clients'
            maximum age.
        io_timeout_s: a message that has begun is read, or a reply written, within this.
        min_budget_ms: work whose caller will wait less than this is refused.
        max_budget_ms: the time given to callers that name none, and the most given to any.
        drain_window_s: how long to serve on, not ready, while clients look elsewhere.
        drain_timeout_s: how long to wait then for the calls in flight.
        max_frame_bytes: the longest message, either way.
        slow_ms: calls that took longer are logged.
    """

    max_connections: int = 512
    max_turned_away: int = 16
    max_in_flight: int = 64
    idle_timeout_s: float = 60.0
    io_timeout_s: float = 5.0
    min_budget_ms: int = 1
    max_budget_ms: int = 10_000
    drain_window_s: float = 1.0
    drain_timeout_s: float = 10.0
    max_frame_bytes: int = 1024 * 1024
    slow_ms: int = 200


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
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._connections: set[SocketTransport] = set()
        self._turned_away = 0
        self._started = False
        self._draining = False
        self._retiring = False
        self._starved_until_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._waker, self._wake = socket.socketpair()
        self._waker.setblocking(False)
        self._wake.setblocking(False)
        self._context = contextvars.Context()

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
            and len(self._connections) < self._options.max_connections
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

        It accepts no client any more, and serves those it has until they have left: a client of
        ours leaves with its next reply, and an idle connection has to outlive its client's wish
        to use it. Takes no lock.
        """
        self._retiring = True
        self.processor.leaving = self.processor.leaving or WORKER_LEAVES
        self._wake_up()

    def _wake_up(self) -> None:
        try:
            self._waker.send(b"x")
        except OSError:
            return  # it has stopped already, or was told so often that it cannot have missed it

    def serve(self) -> None:
        """Serve until drained. Call it in the main thread, where signals arrive.

        Raises:
            SettingsError: another program listens on the address.
        """
        self._context = contextvars.copy_context()
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
            lost = self._finish_connections()
            self._waker.close()
            self._wake.close()
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
        poller = select.poll()
        poller.register(self._wake.fileno(), select.POLLIN)
        while self._connections and not self._draining and time.monotonic() < ends_s:
            if poller.poll(100):
                self._wake.recv(64)

    def handle(self, client: SocketTransport) -> None:
        """Answer one connection's calls, one after another, until either side has had enough."""
        protocol = self.inputProtocolFactory.getProtocol(client)
        while client.await_message(self._options.idle_timeout_s):
            try:
                self.processor.process(protocol)
            except UnusualError:
                protocol = self.inputProtocolFactory.get_stock_protocol(client)
                self.processor.process(protocol)

    def _turn_away(self, client: SocketTransport) -> None:
        if client.await_message(self._options.io_timeout_s):
            self.processor.process(
                self.inputProtocolFactory.get_stock_protocol(client), refusal="too many connections"
            )

    # Accepting.

    def _accept_until(self, finished: Callable[[], bool], until_s: float | None = None) -> None:
        poller = select.poll()
        poller.register(self.serverTransport.fileno(), select.POLLIN)
        poller.register(self._wake.fileno(), select.POLLIN)
        while not finished():
            wait_ms = None if until_s is None else max(0.0, (until_s - time.monotonic()) * 1000)
            for fd, _ in poller.poll(wait_ms):
                if fd == self._wake.fileno():
                    self._wake.recv(64)
                else:
                    self._accept()

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
        with self._lock:
            over = len(self._connections) - self._turned_away >= self._options.max_connections
            full = over and self._turned_away >= self._options.max_turned_away
            if not full:
                self._connections.add(client)
                self._turned_away += over
        if full:
            _REJECTED.labels("closed").inc()
            client.close()
            return True
        if over:
            _REJECTED.labels("answered").inc()
        self._start(self._turn_away if over else self.handle, client, over)
        return True

    def _start(
        self, serve: Callable[[SocketTransport], None], client: SocketTransport, over: bool
    ) -> None:
        _CONNECTIONS.inc()
        context = self._context.copy()  # a new thread starts without the log fields of this process
        thread = threading.Thread(
            target=context.run, args=(self._serve_connection, serve, client, over)
        )
        thread.daemon = self.daemon
        try:
            thread.start()
        except RuntimeError as ex:  # the system has no more threads
            self._forget(client, over)
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
        self, serve: Callable[[SocketTransport], None], client: SocketTransport, over: bool
    ) -> None:
        try:
            if self._tls is not None:
                with (
                    self._lock
                ):  # the socket changes hands, and `_finish_connections` must not miss it
                    client.begin_tls(self._tls)
                client.shake_hands(self._options.io_timeout_s)
            serve(client)
        except HandshakeFailedError as ex:
            _BROKEN.labels("tls").inc()
            _log.info("rpc_connection_refused", error=str(ex))
        except TTransportException as ex:
            _BROKEN.labels(_WHY_BROKEN.get(ex.type, "io")).inc()
            _log.debug("rpc_connection_broken", error=str(ex))
        except Exception as ex:  # noqa: BLE001 - all that garbage makes of a decoder
            _BROKEN.labels("garbage").inc()
            _log.info("rpc_connection_broken", error=f"{type(ex).__name__}: {ex}"[:200])
        finally:
            self._forget(client, over)

    def _forget(self, client: SocketTransport, over: bool) -> None:
        _CONNECTIONS.dec()
        with (
            self._lock
        ):  # around the close too: no other thread may use a descriptor that is being closed
            self._connections.discard(client)
            self._turned_away -= over
            client.close()
            self._gone.notify_all()

    def _finish_connections(self) -> int:
        """Answer what has arrived, close the idle connections; returns how many had to be cut."""
        with self._lock:
            for client in self._connections:
                client.stop_reading()
            self._gone.wait_for(
                lambda: not self._connections, timeout=self._options.drain_timeout_s
            )
            for client in self._connections:
                client.abort()
            return len(self._connections)


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

    Raises:
        SettingsError: the address cannot be had, or Thrift's C codec is missing.
    """
    require_codec()
    options = options or ServerOptions()
    limits = Limits(message_bytes=options.max_frame_bytes)
    rules = CallRules(
        max_in_flight=options.max_in_flight,
        io_timeout_s=options.io_timeout_s,
        min_budget_ms=options.min_budget_ms,
        max_budget_ms=options.max_budget_ms,
        slow_ms=options.slow_ms,
    )
    server: Server

    def answer_probe(probe: int) -> bool:
        return _PROBES.get(probe, Server.is_ready)(server)

    dispatcher = Dispatcher(
        methods_of(service), handler, errors=errors or {}, rules=rules, answer_probe=answer_probe
    )
    sock = listen(bind) if isinstance(bind, str) else bind
    listener = Listener(sock, options.max_frame_bytes)
    server = Server(dispatcher, listener, limits=limits, options=options, tls=tls, is_fit=is_fit)
    return server


_PROBES: Mapping[int, Callable[[Server], bool]] = {
    HealthProbe.READINESS: Server.is_ready,
    HealthProbe.LIVENESS: lambda _: True,
    HealthProbe.STARTUP: lambda server: server._started,
}
