"""How the crowd speaks to our own chat, and what is measured of it alone: two nodes, a node that
ends, and a node that dies.

A ticket for each socket, a topic that all of them follow, and events put onto the bus as another
node would put them.

    crowd = OurCrowd()  # finds the site by TIDINGS_REDIS_URL and TIDINGS_SECRET_KEYS
    crowd.connect(number=100, ports=[8001])
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from bench.chat_crowd import BODY, JOIN_S, Crowd, Link
from bench.chat_wire import TOPIC
from tidings.http.reader_id import FIRST_ID
from tidings.process.settings import load_settings
from tidings.process.settings.secret_keys import read_secret_keys
from tidings.readers.tickets import Tickets
from tidings.store.keys import BUS
from tidings.store.redis import make_redis
from tidings.talk.events import Entry

# Apart from readers that others make.
FIRST_OF_CROWD = FIRST_ID + 1_000_000
ENDS_S = 300.0
SETTLE_S = 10.0
# Those who were turned away draw a moment within this.
AGAIN_S = 2.0


class Tidings:
    """The dialect of services/chat."""

    path = "/ws"

    def __init__(self) -> None:
        settings = load_settings()
        self._redis = make_redis(settings.redis)
        self._tickets = Tickets(read_secret_keys(settings.site), self._redis)
        self.positions: dict[int, str] = {}
        self.recovered = 0

    def hello(self, number: int) -> bytes:
        """With the position that the client was last told, if there is one."""
        hello = {
            "type": "hello",
            "ticket": self._tickets.issue(FIRST_OF_CROWD + number, None).text,
            "topics": [TOPIC],
        }
        if number in self.positions:
            hello["pos"] = self.positions[number]
        return msgspec.json.encode(hello)

    def answer(self, number: int, payload: bytes) -> bytes | None:
        """What a client says to this while it joins; empty bytes if it is there now."""
        self.note(number, payload)
        if b'"welcome"' not in payload:
            return None
        self.recovered += b'"recovered":true' in payload
        return b""

    def pong(self, _payload: bytes) -> bytes:
        """WebSocket's own pings are enough."""
        return b""

    def send(self, to: int, marker: str, body: str) -> bytes:
        """A message to a conversation."""
        frame = {"type": "send", "cid": marker, "conversation_id": to, "body": body}
        return json.dumps(frame).encode()

    def note(self, number: int, payload: bytes) -> None:
        """Keep the position that this frame told."""
        at = payload.find(b'"pos":"')
        if at >= 0:
            self.positions[number] = payload[at + 7 : payload.index(b'"', at + 7)].decode()

    def publish(self, marker: str, body: str) -> None:
        """An event of the topic that all follow."""
        event = {"type": "comment_added", "topic": TOPIC, "cid": marker, "body": body}
        fields: dict[Any, Any] = {**Entry(msgspec.json.encode(event), TOPIC).fields()}
        self._redis.xadd(BUS.of(), fields, maxlen=BUS.most, approximate=True)


class OurCrowd(Crowd):
    """Clients of our chat."""

    dialect: Tidings

    def __init__(self) -> None:
        super().__init__(Tidings())
        self._told: set[int] = set()

    def broadcast(self, marker: str, body: str) -> None:
        """As another node would, by the bus."""
        self.dialect.publish(marker, body)

    def _ignore(self, link: Link, payload: bytes, _now_ns: int) -> None:
        self.dialect.note(link.number, payload)
        if b'"type":"bye"' in payload:
            self._told.add(link.number)

    def pairs(self, conversations: Sequence[int], per_s: int, seconds: float) -> dict[str, Any]:
        """One to one at this rate, whatever becomes of the answers: of two links one sends, at one
        node in one pair and at the other in the next.

        Args:
            conversations: one for each pair of links.

        Returns:
            When each message was sent, acknowledged and received, by its cid.
        """
        sent: dict[str, int] = {}
        acked: dict[str, int] = {}
        received: dict[str, int] = {}
        errors = Counter[str]()
        decode = msgspec.json.Decoder(_Heard).decode

        def see(link: Link, payload: bytes, now_ns: int) -> None:
            heard = decode(payload)
            if heard.type == "ack":
                acked[heard.cid] = now_ns
            elif heard.type == "message" and heard.cid.startswith(f"{link.number}-"):
                received[heard.cid] = now_ns
            elif heard.type == "error":
                errors[heard.code] += 1

        self._on_text = see
        numbers = random.Random(7)
        began = f"{time.monotonic():.3f}"
        for n in self.paced(int(per_s * seconds), per_s):
            pair = numbers.randrange(len(conversations))
            sender, receiver = 2 * pair + pair % 2, 2 * pair + 1 - pair % 2
            cid = f"{receiver}-{n}-{began}"
            sent[cid] = time.monotonic_ns()
            self.write(self.links[sender], self.dialect.send(conversations[pair], cid, BODY))
            if n % 8 == 0:
                self.turn(0)
        self.turn_until(lambda: len(received) + errors.total() >= len(sent), SETTLE_S)
        self._on_text = self._ignore
        return {"sent": sent, "acked": acked, "received": received, "errors": dict(errors)}

    def ends(self) -> dict[str, Any]:
        """Wait until the server has closed them all; how, and how many within any one second at
        least: a link was open when this process looked before, and on a busy machine that may have
        been long ago."""
        self.turn_until(lambda: all(link.sock is None for link in self.links), ENDS_S)
        ended = [link for link in self.links if link.sock is None]
        at_s = sorted((link.closed_s, link.open_s) for link in ended)
        codes = Counter(link.code for link in ended)
        return {
            "max_per_s": _most_within(at_s, 1.0),
            "seconds": at_s[-1][0] - at_s[0][0] if at_s else 0.0,
            "codes": {str(code): number for code, number in codes.items()},
            "without_bye": len(self.links) - len(self._told),
            "other_codes": len(self.links) - codes[1012],
        }

    def come_back(self, port: int, over_s: float) -> dict[str, Any]:
        """Every link that has ended comes back to this port, at a moment drawn within `over_s`."""
        numbers = random.Random(7)
        self.turn_until(lambda: all(link.sock is None for link in self.links), SETTLE_S)
        gone = [link for link in self.links if link.sock is None]
        began_s = time.monotonic()
        due = sorted((began_s + numbers.uniform(0, over_s), link.number) for link in gone)
        self.dialect.recovered = 0
        self._on_text = self._join
        self._failed.clear()
        while due:
            turned_away: list[tuple[float, int]] = []
            for due_s, number in due:
                while (left_s := due_s - time.monotonic()) > 0:
                    self.turn(left_s)
                self.open(self.links[number], port)
            self.turn_until(lambda: not self._joining, JOIN_S)
            again_s = time.monotonic()
            if again_s - began_s < ENDS_S:
                turned_away = [
                    (again_s + numbers.uniform(0, AGAIN_S), link.number)
                    for link in gone
                    if link.sock is None
                ]
            due = sorted(turned_away)
        self._on_text = self._ignore
        return {
            "back": sum(link.sock is not None for link in gone),
            "recovered": self.dialect.recovered,
            "seconds": time.monotonic() - began_s,
            "failed": dict(self._failed),
        }


class _Heard(msgspec.Struct):
    type: str
    cid: str = ""
    code: str = ""


def _most_within(ends: Sequence[tuple[float, float]], span_s: float) -> int:
    """The most of these that lie within one span of that length; of each the last moment at which
    it can have been, and the first one, sorted."""
    most = first = 0
    for last, (latest, _) in enumerate(ends):
        while first <= last and latest - ends[first][1] > span_s:
            first += 1
        most = max(most, last - first + 1)
    return most
