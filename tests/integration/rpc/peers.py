"""The other end, written with stock Thrift or by hand: clients and servers that behave, and those
that do not."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.Thrift import TMessageType, TType
from thrift.transport.THeaderTransport import THeaderClientType
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TMemoryBuffer, TTransportException

from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest
from tidings_idl.recommend.UserRecommend import user_recommend_args, user_recommend_result

# Ends what hangs; below it nothing is decided by time.
PATIENCE_S = 60
HEADERS = (THeaderClientType.HEADERS,)


def header_frame(
    name: str, kind: int, seqid: int, body: Any, headers: Mapping[bytes, bytes] | None = None
) -> bytes:
    """A message as the stock header protocol sends it."""
    sink = TMemoryBuffer()
    protocol = THeaderProtocol(sink, HEADERS)
    for key, value in (headers or {}).items():
        protocol.set_header(key, value)
    protocol.writeMessageBegin(name, kind, seqid)
    body.write(protocol)
    protocol.writeMessageEnd()
    protocol.trans.flush()
    frame: bytes = sink.getvalue()
    return frame


def request_frame(user_id: int = 1, headers: Mapping[bytes, bytes] | None = None) -> bytes:
    arguments = user_recommend_args(UserRequest(user_id=user_id))
    return header_frame("user_recommend", TMessageType.CALL, 7, arguments, headers)


@dataclass(frozen=True)
class Call:
    name: str
    seqid: int
    headers: Mapping[bytes, bytes]

    def reply(
        self, exposure: str = "", *, seqid: int | None = None, name: str | None = None
    ) -> bytes:
        """The frame of a proper reply, or of one to another call."""
        result = user_recommend_result(
            success=ArticleResponse(exposure=exposure, time_stamp=0, recommends=[])
        )
        seqid = self.seqid if seqid is None else seqid
        return header_frame(name or self.name, TMessageType.REPLY, seqid, result)


class Conversation:
    """One accepted connection, seen from a server that is up to something."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        transport = TSocket()
        transport.setHandle(sock)
        self._protocol = THeaderProtocol(transport, HEADERS)

    def read_call(self) -> Call:
        name, _, seqid = self._protocol.readMessageBegin()
        self._protocol.skip(TType.STRUCT)
        self._protocol.readMessageEnd()
        return Call(name, seqid, dict(self._protocol.get_headers()))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hold(self) -> None:
        """Say nothing until the client closes."""
        while self.sock.recv(65536):
            pass

    def reset(self) -> None:
        """End with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Conversation], None]


class Peer:
    """A server that follows `script` on each connection and then closes it."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._conversations: list[Conversation] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []
        self._acceptor = threading.Thread(target=self._accept)

    @property
    def endpoint(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._conversations)

    def __enter__(self) -> Peer:
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE_S)
        self._listener.close()
        for conversation in self._conversations:
            with suppress(OSError):
                conversation.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if kind is None and self._failures:
            raise self._failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(sock, len(self._conversations) + 1)
            self._conversations.append(conversation)
            thread = threading.Thread(target=self._converse, args=(conversation,))
            self._threads.append(thread)
            thread.start()

    def _converse(self, conversation: Conversation) -> None:
        try:
            self._script(conversation)
        except (OSError, TTransportException):
            pass  # the client has gone, which is what it should do
        except Exception as ex:  # noqa: BLE001 - raised again where the test ends
            self._failures.append(ex)
        finally:
            conversation.sock.close()


@contextmanager
def dialled(endpoint: str) -> Iterator[socket.socket]:
    """A bare connection to a server, for writing by hand."""
    if endpoint.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(endpoint.removeprefix("unix:"))
            sock.settimeout(PATIENCE_S)
            yield sock
        return
    host, port = endpoint.rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE_S) as sock:
        yield sock


def is_closed(sock: socket.socket) -> bool:
    """Wait until the server has closed; False if it sends something instead."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True
