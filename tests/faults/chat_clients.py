"""Readers who chat, and do what docs/chat.md asks of a client: a new ticket for each connection,
the last position to go on from, the history where there is a gap, the same cid until there is an
answer.

All run on one event loop in a thread of its own, so that a test does to the nodes what it likes
meanwhile.

    with Chatters(site, Plan(), seed=1) as chatters:
        site.nodes[0].kill()
    chatters.ledgers
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import jwt
from redis import RedisError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.faults.chat_ledgers import Ledger
from tests.faults.chat_site import ChatSite, Node
from tidings.readers.tickets import AUDIENCE

ACK_S = 3.0
BACK_OFF_S, MOST_BACK_OFF_S = 0.1, 2.0
PAUSE_S = 0.25
THREADS = 64
NOT_ADMITTED = 4401
# What a client does when a connection cannot be had, or breaks.
LOST = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, RedisError, EOFError)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many readers chat in pairs, and how many of them besides in groups of so many."""

    readers: int = 24
    group: int = 8


class Client:
    """One reader, on one socket at a time."""

    def __init__(self, site: ChatSite, nodes: Sequence[Node], ledger: Ledger, seed: str) -> None:
        self.ledger = ledger
        self.pos: str | None = None
        self.is_quiet = False
        self.node = nodes[0]
        self._site, self._nodes = site, nodes
        self._random = random.Random(seed)
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._socket: ClientConnection | None = None
        self._numbers = count(1)
        self._wait_s = 0.0
        self.used_ticket = ""

    async def live(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
            except LOST:
                failures += 1
            # Full jitter, as every client of the chat has it.
            most_s = min(BACK_OFF_S * 2**failures, MOST_BACK_OFF_S)
            await asyncio.sleep(self._wait_s or self._random.uniform(0, most_s))
            self._wait_s = 0.0

    async def _connect(self) -> None:
        ticket = await asyncio.to_thread(self._site.ticket, self.ledger.reader_id)
        node = self.node = self._random.choice(list(self._nodes))
        async with connect(node.url, compression=None, open_timeout=5, close_timeout=1) as socket:
            hello = {"type": "hello", "ticket": ticket} | ({"pos": self.pos} if self.pos else {})
            await socket.send(json.dumps(hello))
            self.ledger.reconnects += 1
            self.used_ticket = ""
            try:
                async for text in socket:
                    frame = json.loads(text)
                    await self._hear(node, socket, frame)
                    if frame["type"] == "welcome":
                        self.used_ticket = ticket
            finally:
                self._socket = None

    async def _hear(self, node: Node, socket: ClientConnection, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                if frame["reader_id"] != self.ledger.reader_id:
                    self.ledger.told["of_another"] += 1
                self.ledger.recovered += frame["recovered"]
                if not frame["recovered"]:
                    await self._reload(node)
                self._socket = socket
            case "reset":
                await self._reload(node)
            case "message":
                await self._take(node, frame)
            case "ack" | "error" | "ok":
                waiting = self._answers.get(frame.get("cid") or frame.get("ref") or "")
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
            case "bye":
                self._wait_s = frame["retry_after_ms"] / 1000
        # Only what has been dealt with is never asked for again.
        self.pos = frame.get("pos", self.pos)

    async def _take(self, node: Node, frame: dict[str, Any]) -> None:
        conversation_id, seq = frame["conversation_id"], frame["seq"]
        if conversation_id not in self.ledger.members:
            self.ledger.told["of_another"] += 1
        elif seq > self.ledger.last(conversation_id) + 1:
            await self._catch_up(node, conversation_id)
        self.ledger.show(conversation_id, seq, frame["body"])

    async def _reload(self, node: Node) -> None:
        self.ledger.reloads += 1
        for conversation_id in self.ledger.members:
            await self._catch_up(node, conversation_id)

    async def _catch_up(self, node: Node, conversation_id: int) -> None:
        """All that was stored since what was shown last, page after page."""
        while True:
            after = self.ledger.last(conversation_id)
            path = f"/conversations/{conversation_id}/messages?after={after}"
            page = await asyncio.to_thread(self._site.ask, node, self.ledger.reader_id, path)
            for message in page["results"]:
                self.ledger.show(conversation_id, message["seq"], message["body"])
            if not page["results"]:
                return

    async def chat(self) -> None:
        """Send one message after the other, each until it is acknowledged."""
        conversations = sorted(self.ledger.members)
        while True:
            await asyncio.sleep(self._random.uniform(0, 2 * PAUSE_S))
            if self.is_quiet:
                return
            conversation_id = self._random.choice(conversations)
            number = next(self._numbers)
            cid = f"{self.ledger.reader_id}-{number}"
            body = f"{number} of {self.ledger.reader_id}"
            self.ledger.sent[cid] = conversation_id, body
            await self._send(cid, conversation_id, body)

    async def mark(self) -> None:
        """Read one conversation to its end, now and then."""
        conversation_id = min(self.ledger.members)
        while True:
            await asyncio.sleep(self._random.uniform(0, 4 * PAUSE_S))
            seq = self.ledger.last(conversation_id)
            if seq <= self.ledger.marks.get(conversation_id, 0) or self._socket is None:
                continue
            ref = f"read-{seq}"
            read = {"type": "read", "conversation_id": conversation_id, "seq": seq, "ref": ref}
            answer = self._answers[ref] = asyncio.get_running_loop().create_future()
            with suppress(*LOST):
                await self._socket.send(json.dumps(read))
                got = await asyncio.wait_for(answer, ACK_S)
                if got["type"] == "ok":
                    self.ledger.marks[conversation_id] = seq
            del self._answers[ref]

    async def _send(self, cid: str, conversation_id: int, body: str) -> None:
        send = {"type": "send", "cid": cid, "conversation_id": conversation_id, "body": body}
        while True:
            answer = self._answers[cid] = asyncio.get_running_loop().create_future()
            with suppress(*LOST):
                if self._socket is not None:
                    await self._socket.send(json.dumps(send))
                    got = await asyncio.wait_for(answer, ACK_S)
                    if got["type"] == "ack":
                        self.ledger.acked[cid] = got["conversation_id"], got["seq"]
                        del self._answers[cid]
                        return
                    if got["code"] != "unavailable":
                        self.ledger.told[f"error {got['code']}"] += 1
            await asyncio.sleep(self._random.uniform(0.05, 0.3))


class Intruder:
    """Goes on where another reader is, and shows tickets that admit nobody: one that was used, and
    one that names the reader and is signed by the intruder."""

    def __init__(self, nodes: Sequence[Node], victim: Client) -> None:
        self._nodes, self._victim = nodes, victim
        self.turned_away = 0

    async def live(self) -> None:
        """Try again and again until cancelled."""
        for turn in count():
            await asyncio.sleep(PAUSE_S)
            victim = self._victim
            forged = forge_ticket(victim.ledger.reader_id)
            ticket = forged if turn % 2 else victim.used_ticket
            if ticket and victim.pos:
                with suppress(*LOST):
                    await self._try(self._nodes[turn // 2 % len(self._nodes)], ticket)

    async def _try(self, node: Node, ticket: str) -> None:
        async with connect(node.url, compression=None, open_timeout=5, close_timeout=1) as socket:
            hello = {"type": "hello", "ticket": ticket, "pos": self._victim.pos}
            await socket.send(json.dumps(hello))
            try:
                while True:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), ACK_S))
                    if frame["type"] not in ("error", "bye"):
                        self._victim.ledger.told["let_in"] += 1
                        return
            except ConnectionClosed as ex:
                self.turned_away += ex.rcvd is not None and ex.rcvd.code == NOT_ADMITTED


def forge_ticket(reader_id: int) -> str:
    """A ticket with every claim that one of ours has, under a key that is not ours."""
    now_s = int(time.time())
    claims = {"sub": str(reader_id), "aud": AUDIENCE, "iat": now_s, "exp": now_s + 60, "jti": "1"}
    return jwt.encode(claims, "an intruder's key of 32 bytes or more", algorithm="HS256")


class Chatters:
    """Readers in pairs and groups, who chat while the block lasts."""

    def __init__(self, site: ChatSite, plan: Plan, seed: int) -> None:
        self._site = site
        nodes = site.nodes
        first = site.take_readers(plan.readers)
        members: dict[int, set[int]] = {n: set() for n in range(plan.readers)}
        pairs = [(n, n + 1) for n in range(0, plan.readers, 2)]
        groups = [
            tuple(range(n, min(n + plan.group, plan.readers)))
            for n in range(0, plan.readers, plan.group)
        ]
        for together in (*pairs, *groups):
            conversation_id = site.talk([first + n for n in together])
            for n in together:
                members[n].add(conversation_id)
        self.clients = [
            Client(site, nodes, Ledger(first + n, members[n]), f"{seed}:{n}") for n in members
        ]
        self.intruder = Intruder(nodes, self.clients[0])
        self._loop = asyncio.new_event_loop()
        # A node that is cut off from its database keeps a thread that asks it for seconds.
        self._loop.set_default_executor(ThreadPoolExecutor(THREADS))
        self._thread = threading.Thread(target=self._loop.run_forever, name="chatters", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ledgers(self) -> list[Ledger]:
        return [client.ledger for client in self.clients]

    @property
    def acked(self) -> int:
        return sum(len(ledger.acked) for ledger in self.ledgers)

    def __enter__(self) -> Chatters:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def has_tried_to_intrude(self) -> bool:
        """And was answered."""
        return bool(self.intruder.turned_away or self.clients[0].ledger.told["let_in"])

    def hush(self) -> None:
        """Begin nothing new; what was sent is seen to its end."""
        for client in self.clients:
            client.is_quiet = True

    async def _begin(self) -> None:
        for client in self.clients:
            self._tasks += map(asyncio.create_task, (client.live(), client.chat(), client.mark()))
        self._tasks.append(asyncio.create_task(self.intruder.live()))

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        broken = [end for end in ends if isinstance(end, Exception)]
        if broken:
            raise ExceptionGroup("clients broke", broken)

    def count_wrong_unread(self) -> int:
        """In how many conversations a node counts other than the readers' ledgers: one of each
        reader's is read to its end, in the others nothing was read."""
        wrong = 0
        for client in self.clients:
            for conversation_id in sorted(client.ledger.members):
                path = f"/conversations/{conversation_id}"
                told = self._site.ask_until_answered(client.node, client.ledger.reader_id, path)
                wrong += told["unread"] != client.ledger.unread(conversation_id)
        return wrong
