"""One connection to the gateway that counts what comes back, and the crowd that it belongs to.

It looks at nothing of an answer but its head and the last word of its body, since a crowd has to
cost less than the gateway that it asks. What other programs have stolen is told apart from lateness
of the gateway's own. Rejected: asyncio's streams, which take three times as long for the same.

    client = Client(crowd, lambda: b"GET /channels HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    await client.open()
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Callable, Coroutine

import msgspec

from tests.faults.stolen_time import EVERY_S, StolenTime

# A browser that got no answer in this time has shown its own page for that.
PATIENCE_S = 5.0
REOPEN_S = 0.5
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nRetry-After: *(\d+)", re.IGNORECASE)


class Plan(msgspec.Struct):
    """What a process of clients does, and to whom.

    Attributes:
        kind: a key of `KINDS`.
        number: of connections.
        late_s: an answer that takes longer is late.
        readers: signed ids; the connections take them in turn.
        source: the address to come from.
        servers: the gateway's processes.
        bodies: what each reader reports, if they do.
        per_second: of all connections together; 0 is as fast as they are answered.
    """

    kind: str
    port: int
    number: int
    late_s: float
    readers: list[str]
    source: str = "127.0.0.1"
    servers: list[int] = []
    per_second: float = 0
    article_num: int = 10
    product_id: int = 1
    bodies: list[str] = []


class Seen(msgspec.Struct):
    """What became of their requests.

    Attributes:
        excused: of those that were shed, the ones whose time had been stolen from the gateway.
    """

    asked: int = 0
    answered: int = 0
    served: int = 0
    shed: int = 0
    excused: int = 0
    late: int = 0
    late_by_gateway: int = 0
    unanswered: int = 0
    without_retry_after: int = 0
    slowest_s: float = 0.0
    opened: int = 0
    statuses: dict[str, int] = {}
    served_from: dict[str, int] = {}

    @property
    def served_share(self) -> float:
        judged = self.asked - self.excused
        return self.served / judged if judged else 0.0

    @property
    def late_share(self) -> float:
        """Of the requests that were asked, those that were answered late or never."""
        return (self.late + self.unanswered) / self.asked if self.asked else 0.0

    @property
    def failed(self) -> int:
        """How many were late or without an answer, but for what is the machine's doing."""
        return self.late_by_gateway + self.unanswered

    @property
    def shed_share(self) -> float:
        return self.shed / self.asked if self.asked else 0.0


class Crowd:
    """All clients of one process, and what they have seen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.seen = Seen()
        self.statuses, self.served_from = Counter[str](), Counter[str]()
        self.is_over = False
        self.stolen = StolenTime(lambda: plan.servers)
        self.tasks: set[asyncio.Task[None]] = set()
        self.waiting: set[Client] = set()

    def run(self, work: Coroutine[object, object, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def watch_the_clock(self) -> None:
        """Add up how long this process did not look at its sockets, and the gateway had no core."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.stolen.look()

    def note(self, status: int, head: bytes, body: bytes, took_s: float, stolen_s: float) -> None:
        """One answer; a late one is an answer of no use."""
        if self.is_over:
            return
        seen = self.seen
        seen.answered += 1
        self.statuses[str(status)] += 1
        is_late = took_s - stolen_s > self.plan.late_s
        seen.late += took_s > self.plan.late_s
        seen.late_by_gateway += is_late
        seen.served += 200 <= status < 400 and not is_late
        seen.slowest_s = max(seen.slowest_s, took_s)
        if status in (429, 503):
            seen.shed += 1
            seen.excused += took_s > self.plan.late_s and not is_late
            seen.without_retry_after += RETRY_AFTER.search(head) is None
        found = re.search(rb'"served_from":"(\w+)"', body[-200:])
        if found:
            self.served_from[found[1].decode()] += 1

    def close(self) -> Seen:
        """The result. A request that was only just asked is as if it had not been."""
        self.is_over = True
        for client in self.waiting:
            is_late = self.loop.time() - client.asked_s > self.plan.late_s
            self.seen.asked -= not is_late
            self.seen.late += is_late
            self.seen.late_by_gateway += client.waited_s() > self.plan.late_s
        self.seen.statuses, self.seen.served_from = dict(self.statuses), dict(self.served_from)
        return self.seen


class Client(asyncio.Protocol):
    """One connection. It is opened again, after a moment, whenever the gateway has closed it.

    Args:
        requests: makes the next request.
        then: called after each answer with the seconds to wait before asking again.
    """

    receive_buffer = 0

    def __init__(
        self,
        crowd: Crowd,
        requests: Callable[[], bytes],
        then: Callable[[Client, float], None] = lambda _client, _wait_s: None,
    ) -> None:
        self.crowd = crowd
        self.requests = requests
        self.then = then
        self.wire: asyncio.Transport | None = None
        self.read = bytearray()
        self.asked_s = 0.0
        self.stolen_before_s = 0.0

    async def open(self) -> None:
        """Connect, and ask at once."""
        crowd = self.crowd
        sock = socket.socket()
        sock.setblocking(False)
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.start_clock()
        try:
            sock.bind((crowd.plan.source, 0))
            where = ("127.0.0.1", crowd.plan.port)
            await asyncio.wait_for(crowd.loop.sock_connect(sock, where), PATIENCE_S)
            await crowd.loop.create_connection(lambda: self, sock=sock)
        except (OSError, TimeoutError):
            sock.close()
            self.connection_lost(None)

    def start_clock(self) -> None:
        self.asked_s, self.stolen_before_s = self.crowd.loop.time(), self.crowd.stolen.total_s
        self.crowd.seen.asked += 1
        self.crowd.waiting.add(self)

    def waited_s(self) -> float:
        """Since the last question, without what was stolen."""
        return self.crowd.loop.time() - self.asked_s - self.stolen_s()

    def stolen_s(self) -> float:
        """How much was stolen since the last question, where that makes a difference."""
        if self.crowd.loop.time() - self.asked_s <= self.crowd.plan.late_s:
            return 0.0
        return self.crowd.stolen.look() - self.stolen_before_s

    def give_up(self) -> None:
        """No answer will come to what was asked last, if anything was."""
        self.crowd.seen.unanswered += self in self.crowd.waiting
        self.crowd.waiting.discard(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.crowd.seen.opened += 1
        self.read.clear()
        self.wire = transport
        transport.write(self.requests())

    def ask(self) -> None:
        """Once more, over the same connection."""
        if self.wire is not None and not self.crowd.is_over:
            self.start_clock()
            self.wire.write(self.requests())

    def data_received(self, data: bytes) -> None:
        self.read += data
        end = self.read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.read[:end])
        found = LENGTH.search(head)
        whole = end + 4 + (int(found[1]) if found else 0)
        if len(self.read) < whole:
            return
        body = bytes(self.read[end + 4 : whole])
        del self.read[:whole]
        self.answered(int(head[9:12]), head, body)

    def answered(self, status: int, head: bytes, body: bytes) -> None:
        crowd = self.crowd
        crowd.waiting.discard(self)
        took_s = crowd.loop.time() - self.asked_s
        crowd.note(status, head, body, took_s, self.stolen_s())
        asked_to_wait = RETRY_AFTER.search(head)
        self.then(self, float(asked_to_wait[1]) if asked_to_wait else 0.0)

    def connection_lost(self, _error: Exception | None) -> None:
        self.wire = None
        if self.crowd.is_over:
            return
        self.give_up()
        self.crowd.loop.call_later(REOPEN_S, self.reopen)

    def reopen(self) -> None:
        if not self.crowd.is_over:
            self.crowd.run(self.open())
