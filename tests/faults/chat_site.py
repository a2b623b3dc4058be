"""Nodes of the chat to break, on a MariaDB and a Redis of their own.

Nodes are real processes. Tickets are issued here, as a gateway would, so that no gateway has to
stand beside them; what a reader asks by HTTP, a node answers itself.

    with start_chat(folder, database, redis) as site:
        site.add_node().kill()
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from sqlalchemy import Connection, Engine, text

from tests.faults.world import REPOSITORY, Process
from tests.lab.servers import MariaDBServer, RedisServer, free_port, wait_until
from tidings.http.reader_id import FIRST_ID, ReaderSigner
from tidings.process.errors import PREFIX
from tidings.process.settings import flat_names, read_settings
from tidings.readers.tickets import Tickets
from tidings.store.engine import make_engine
from tidings.store.migrate import migrate
from tidings.store.redis import make_redis
from tidings.store.transacting import transact
from tidings.talk.conversations import start_direct, start_group

SECRET_KEY = "0123456789abcdef" * 4
START_S = 60.0
# Tests and benchmarks stand at one address, and their clients are quicker than people.
UNBOUNDED = {name: 0 for name in flat_names() if name.startswith("chat_limit_")} | {
    "chat_connections_per_address": 0
}


@dataclass
class Node:
    """One process of the chat. `address` is where clients find it."""

    process: Process
    port: int
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"ws://{self.address}:{self.port}/ws"

    @property
    def http(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process.popen is not None
        return self.process.popen.pid

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http}/health/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def start(self) -> None:
        """Return when it is ready."""
        self.process.start()
        wait_until(
            lambda: self.is_ready() or not self.process.is_running, START_S, self.process.name
        )
        assert self.process.is_running, self.process.log.read_text()[-3000:]

    def kill(self) -> None:
        """SIGKILL to all its processes at once: a worker whose master dies first would end well."""
        for child in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.kill()


@dataclass
class ChatSite:
    """What the nodes share."""

    folder: Path
    database: MariaDBServer
    redis: RedisServer
    engine: Engine
    settings: dict[str, str]
    tree: Path = REPOSITORY
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next_reader = FIRST_ID
        self._signer = ReaderSigner([SECRET_KEY.encode()])
        self._tickets = Tickets([SECRET_KEY.encode()], self._own_redis())

    def _own_redis(self) -> Redis:
        return make_redis(read_settings(None, redis_url=self.redis.url).redis)

    def add_node(
        self,
        *,
        before: Sequence[str] = (),
        bind: str = "127.0.0.1",
        address: str = "127.0.0.1",
        program: Sequence[str] = ("services.chat",),
        **settings: object,
    ) -> Node:
        """Start one more node, whose command follows `before`."""
        port = free_port()
        name = f"node{len(self.nodes)}"
        ours = {
            "chat_bind": f"{bind}:{port}",
            "chat_metrics_bind": f"127.0.0.1:{free_port()}",
            **UNBOUNDED,
            **settings,
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        env = kept | self.settings | {PREFIX + key.upper(): str(ours[key]) for key in ours}
        command = [*before, sys.executable, "-m", *program]
        process = Process(name, command, env, self.folder / f"{name}.log", cwd=self.tree)
        node = Node(process, port, address)
        self.nodes.append(node)
        node.start()
        return node

    def take_readers(self, number: int) -> int:
        """The first of so many ids that are new here."""
        first = self._next_reader
        self._next_reader += number
        return first

    def mend(self) -> None:
        """Start what a fault has left lying."""
        for server in (self.database, self.redis):
            if not server.is_running:
                server.start()
        for node in self.nodes:
            if not node.process.is_running:
                node.start()

    def ticket(self, reader_id: int) -> str:
        """Raises:
        RedisError: it is away.
        """
        return self._tickets.issue(reader_id, None).text

    def ask(self, node: Node, reader_id: int, path: str) -> Any:
        """What a node answers this reader by HTTP.

        Raises:
            OSError: it does not, or dies in the middle of its answer.
        """
        request = urllib.request.Request(node.http + path)
        request.add_header("Cookie", f"tidings_reader={self._signer.sign(reader_id)}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except HTTPException as ex:
            raise ConnectionError(f"{node.http} broke off: {ex!r}") from ex

    def ask_until_answered(self, node: Node, reader_id: int, path: str) -> Any:
        """What a node answers in the end, which a busy machine may keep from it for a while."""
        answers: list[Any] = []

        def ask() -> bool:
            with suppress(OSError):
                answers.append(self.ask(node, reader_id, path))
            return bool(answers)

        wait_until(ask, START_S, f"an answer to {path}")
        return answers[0]

    def talk(self, reader_ids: Sequence[int]) -> int:
        """A new conversation of these readers."""
        first, *others = reader_ids

        def start(conn: Connection) -> int:
            if len(others) == 1:
                made = start_direct(conn, first, others[0])
            else:
                made = start_group(conn, first, title="A group", member_ids=others)
            return made.conversation_id

        return transact(self.engine, start)

    def stored(self, conversation_id: int) -> dict[int, tuple[str, str]]:
        """Of each message, by its seq: cid and body."""
        query = text("SELECT seq, cid, body FROM message WHERE conversation_id = :id ORDER BY seq")
        with self.engine.connect() as conn:
            rows = conn.execute(query, {"id": conversation_id})
            return {row.seq: (row.cid, row.body) for row in rows}


@contextmanager
def start_chat(
    folder: Path,
    database: MariaDBServer,
    redis: RedisServer,
    *,
    database_port: int = 0,
    tree: Path = REPOSITORY,
    **settings: object,
) -> Iterator[ChatSite]:
    """A site without a node yet.

    Args:
        database_port: where nodes find the database, if something stands between.
        tree: whose programs run.
    """
    url = database.new_database()
    engine = make_engine(read_settings(None, database_url=url, database_read_timeout_s=60).database)
    migrate(engine)
    values = {
        "database_url": url.replace(f":{database.port}/", f":{database_port or database.port}/"),
        "redis_url": redis.url,
        "secret_keys": SECRET_KEY,
        "var_dir": folder / "var",
        "log_format": "json",
        **settings,
    }
    named = {PREFIX + key.upper(): str(values[key]) for key in values}
    site = ChatSite(folder, database, redis, engine, named, tree=tree)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        try:
            yield site
        finally:
            for node in site.nodes:
                if node.process.is_running:
                    node.kill()
