"""A chat node as a process of its own, as an operator starts it, and a client that talks to it.

The chat is tested from outside: it is patched by gevent from its first line on, and pytest is not.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import psutil
from redis import Redis
from sqlalchemy import Engine
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.lab.servers import ServerError, free_port, spawn, wait_until
from tests.lab.sites import PATIENT
from tidings.process.asking import answers_ready
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.readers.keys import Key
from tidings.readers.tickets import Tickets
from tidings.store.engine import make_engine
from tidings.store.opening import migrate_database

SECRET_KEY = "fedcba9876543210" * 4
START_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 30
# A client of a busy machine is late for no fault of its own. A test that is about a limit sets it.
_PATIENT = {**PATIENT, "chat_hello_s": 30}
_open = build_opener(ProxyHandler({})).open


class ChatNode:
    """One process of the chat with its worker.

    Attributes:
        url: of its sockets.
        http: of all else, without a last slash.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.http = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **environment,
            f"{PREFIX}CHAT_BIND": f"127.0.0.1:{self.port}",
            f"{PREFIX}CHAT_METRICS_BIND": f"127.0.0.1:{self.metrics_port}",
        }
        self._output = folder / f"chat-{self.port}.output"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of gunicorn's master, which an operator's SIGTERM goes to."""
        assert self._process is not None
        return self._process.pid

    @property
    def worker(self) -> psutil.Process:
        """The process that holds the sockets."""
        (worker,) = psutil.Process(self.pid).children()
        return worker

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def start(self) -> None:
        """Start, and return when it is ready.

        Raises:
            ServerError: with the end of its output.
        """
        with self._output.open("ab") as file:
            command = [sys.executable, "-m", "services.chat"]
            self._process = spawn(command, env=self._environment, stdout=file, stderr=file)
        try:
            wait_until(lambda: self.is_ready() or self.has_ended, START_TIMEOUT_S, "the chat")
        except TimeoutError:
            self.kill()
            raise ServerError(f"the chat did not start:\n{self.output[-3000:]}") from None
        if self.has_ended:
            raise ServerError(f"the chat did not start:\n{self.output[-3000:]}")

    def is_ready(self) -> bool:
        return answers_ready(f"127.0.0.1:{self.metrics_port}")

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Without waiting for what comes of it."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def wait(self, timeout_s: float = 60) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, to the worker as well: what was not sent by now never will be."""
        if self._process is None or self.has_ended:
            return
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children()]
        for process in family:
            process.kill()
        self._process.wait()
        psutil.wait_procs(family)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of `GET path`."""
        try:
            with _open(f"{self.http}{path}", timeout=ANSWER_TIMEOUT_S) as answer:
                return answer.status, answer.read()
        except HTTPError as ex:
            return ex.code, ex.read()

    def count(self, name: str, **labels: str) -> float:
        """What a metric says now, all its labels together that are not given."""
        address = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with _open(address, timeout=ANSWER_TIMEOUT_S) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and all(
                f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()
            ):
                total += float(found[2])
        return total


@contextmanager
def start_chat_node(environment: Mapping[str, str], folder: Path) -> Iterator[ChatNode]:
    """A node on free ports.

    Args:
        environment: a site's, as the fixture `environment` makes it, with its database and Redis.
        folder: for what it prints.
    """
    node = ChatNode(environment, folder)
    try:
        node.start()
        yield node
    finally:
        node.kill()


@dataclass(frozen=True, slots=True)
class ChatSite:
    """What nodes share: a database with the newest schema, a Redis, and the keys that sign.

    Attributes:
        environment: for a node.
        folder: of the site, and for what nodes print.
    """

    environment: Mapping[str, str]
    folder: Path
    redis_url: str

    def ticket(self, reader_id: int, key: Key | None = None) -> str:
        """What the gateway gives a reader, or the holder of a key."""
        with Redis.from_url(self.redis_url) as redis:
            return Tickets([SECRET_KEY.encode()], redis).issue(reader_id, key).text

    @contextmanager
    def open_engine(self) -> Iterator[Engine]:
        """Its database, as another process has it."""
        url = self.environment[f"{PREFIX}DATABASE_URL"]
        engine = make_engine(read_settings(None, database_url=url).database)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def start_node(self, **values: Any) -> Iterator[ChatNode]:
        """A node of this site, patient but for settings of its own such as `chat_hello_s=0.5`."""
        own = {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}
        with start_chat_node({**self.environment, **own}, self.folder) as node:
            yield node


def make_chat_site(folder: Path, redis_url: str, database_url: str = "") -> ChatSite:
    """A site for nodes.

    Args:
        database_url: empty for SQLite in `folder`.
    """
    values = {
        "var_dir": str(folder),
        "database_url": database_url or f"sqlite:///{folder}/tidings.db",
        "redis_url": redis_url,
        "secret_keys": SECRET_KEY,
        "log_format": "json",
        **{name: str(value) for name, value in _PATIENT.items()},
    }
    migrate_database(read_settings(None, **values))
    own = {f"{PREFIX}{name.upper()}": value for name, value in values.items()}
    return ChatSite({**os.environ, **own}, folder, redis_url)


class ChatClient:
    """A reader at a socket, by the `websockets` library.

    Attributes:
        socket: the library's own, for what is no frame of the chat.
    """

    def __init__(self, url: str, ticket: str | None = None, **options: Any) -> None:
        self._url, self._ticket, self._options = url, ticket, options
        self.socket: ClientConnection
        self.welcome: dict[str, Any] = {}
        self._passed: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._connect = connect(
            self._url,
            **{"open_timeout": ANSWER_TIMEOUT_S, "compression": None, "proxy": None}
            | {"ping_interval": None, "close_timeout": 5}
            | self._options,
        )
        self.socket = self._connect.__enter__()
        if self._ticket is not None:
            self.send({"type": "hello", "ticket": self._ticket})
            self.welcome = self.await_type("welcome")
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, frame: Mapping[str, Any]) -> None:
        self.socket.send(json.dumps(frame))

    def receive(self, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """The next frame.

        Raises:
            ConnectionClosed: with the close code.
            TimeoutError: none came.
        """
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout_s))
        return frame

    def await_type(self, *kinds: str) -> dict[str, Any]:
        """The next frame of these types. Those of others that come before it are kept until theirs
        is awaited: an answer and what goes over the bus come in either order."""
        for place, frame in enumerate(self._passed):
            if frame["type"] in kinds:
                return self._passed.pop(place)
        while (frame := self.receive())["type"] not in kinds:
            self._passed.append(frame)
        return frame

    def say(self, conversation_id: int, body: str, cid: str) -> dict[str, Any]:
        """Send a message, and again while it cannot be stored in time; the answer, once it is."""
        frame = {"type": "send", "conversation_id": conversation_id, "body": body, "cid": cid}
        while True:
            self.send(frame)
            answer = self.await_type("ack", "error")
            if answer["type"] == "ack":
                return answer
            assert answer["code"] == "unavailable", answer
            time.sleep(answer["retry_after_ms"] / 1000)


def closed_by(ex: ConnectionClosed) -> int | None:
    """The close code that the server sent."""
    return None if ex.rcvd is None else ex.rcvd.code
