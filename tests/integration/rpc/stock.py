"""A client as Thrift's own library makes it, one connection for life: what a program that knows
nothing of ours does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TFramedTransport

from tests.integration.rpc.peers import PATIENCE_S
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import UserRequest

Dialect = tuple[Callable[[Any], Any], Callable[[Any], Any]]
DIALECTS: dict[str, Dialect] = {
    "framed binary": (TFramedTransport, TBinaryProtocol),
    "buffered binary": (TBufferedTransport, TBinaryProtocol),
    "framed compact": (TFramedTransport, TCompactProtocol),
}


class StockClient:
    """Connects once; when that connection ends, so does its usefulness."""

    def __init__(self, endpoint: str, dialect: str) -> None:
        if endpoint.startswith("unix:"):
            sock = TSocket(unix_socket=endpoint.removeprefix("unix:"))
        else:
            host, _, port = endpoint.rpartition(":")
            sock = TSocket(host, int(port))
        sock.setTimeout(PATIENCE_S * 1000)
        framing, encoding = DIALECTS[dialect]
        self._transport = framing(sock)
        self._transport.open()
        self._client: Any = UserRecommend.Client(encoding(self._transport))
        self.answered: Counter[int] = Counter()

    def ask(self, user_id: int) -> int:
        """Which process answers; that the answer is to this question is checked."""
        answer = self._client.user_recommend(UserRequest(user_id=user_id))
        assert answer.exposure == str(user_id)
        return int(answer.time_stamp)

    def ask_until(self, over: threading.Event, failures: list[Exception]) -> None:
        """Call without a pause, and count who answers; what fails is a lost request, and the last
        of this connection."""
        while not over.is_set():
            try:
                self.answered[self.ask(100 + self.answered.total())] += 1
            except Exception as ex:  # noqa: BLE001 - the test is about there being none
                failures.append(ex)
                break

    def close(self) -> None:
        self._transport.close()


@contextmanager
def stock_client(endpoint: str, dialect: str = "framed binary") -> Iterator[StockClient]:
    client = StockClient(endpoint, dialect)
    try:
        yield client
    finally:
        client.close()
