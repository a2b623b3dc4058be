"""The chat's clients in examples/, beside a whole site: they come back, resume, and show each
message once and in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.examples import make_example
from tests.lab.relay import Relay, start_relay
from tests.lab.servers import free_port, spawn, start_redis, wait_until
from tests.lab.sites import PATIENT, Answer, Site, start_site
from tidings.talk.conversations import MOST_STARTED

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60
CLIENTS = {
    "python": [sys.executable, "examples/python/chat.py"],
    "node": ["node", "examples/node/chat.mjs"],
}
every_client = pytest.mark.parametrize("client", CLIENTS)


@dataclass(frozen=True)
class Talk:
    """A site whose chat is reached over `cable`."""

    site: Site
    cable: Relay


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    port = free_port()
    make_example("node").check_returncode()
    with ExitStack() as stack:
        redis = stack.enter_context(start_redis())
        cable = stack.enter_context(start_relay(port))
        site = stack.enter_context(
            start_site(
                tmp_path_factory.mktemp("talk"),
                redis_url=redis.url,
                chat_bind=f"127.0.0.1:{port}",
                chat_url=f"http://127.0.0.1:{cable.port}",
                **PATIENT,
            )
        )
        site.wait_until_ready()
        yield Talk(site, cable)


class Person:
    """A reader with a name of their own, who may talk over HTTP as well."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._reader = talk.site.reader()
        self._reader.send("POST", "/reader/chat-ticket")
        self.signed = self._reader.cookie("tidings_reader")
        self.reader_id = self._reader.reader_id

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """At the node itself, cable or no cable."""
        visitor = type(self._reader)(f"http://{self.talk.site.settings.chat.bind}")
        return visitor.send(method, path, body, {"X-Reader": self.signed})

    def begin(self, other: Person) -> int:
        wanted = {"kind": "direct", "reader_id": other.reader_id}
        return int(self.ask("POST", "/conversations", wanted).json["conversation_id"])

    def write(self, conversation: int, words: str) -> None:
        body = {"cid": f"{conversation}{words}".encode().hex()[:64], "body": words}
        answer = self.ask("POST", f"/conversations/{conversation}/messages", body)
        assert answer.status == 201, answer.body


class Terminal:
    """A client that runs, and what it printed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def type(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n".encode())
        self.process.stdin.flush()

    def end(self) -> int:
        """No more is typed; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Until so many of its lines are of this kind."""
        try:
            wait_until(lambda: len(self.matching(pattern)) >= times, PATIENCE_S, pattern)
        except TimeoutError:
            raise AssertionError(f"never {pattern}: {self.lines}") from None

    def matching(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.fullmatch(pattern, line)]

    @property
    def shown(self) -> list[str]:
        """The messages, each with its `seq` and its words."""
        found = [re.fullmatch(r"(\d+) \d+: (.*)", line) for line in self.lines]
        return [f"{match[1]} {match[2]}" for match in found if match]

    def close(self) -> None:
        self._reading.join(PATIENCE_S)
        for end in (self.process.stdin, self.process.stdout):
            assert end is not None
            end.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))


@contextmanager
def run(client: str, talk: Talk, person: Person | None, conversation: str) -> Iterator[Terminal]:
    name = {"CHAT_READER": person.signed} if person else {}
    environment = {key: value for key, value in os.environ.items() if "TIDINGS" not in key} | name
    process = spawn(
        [*CLIENTS[client], talk.site.url, conversation],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    terminal = Terminal(process)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        terminal.close()


@every_client
def test_a_client_shows_each_message_once_and_in_order_whatever_the_network_does(
    client: str, talk: Talk
) -> None:
    """What was written before it came, while it is there, and while it is cut off, on both
    sides."""
    ann, ben = Person(talk), Person(talk)
    conversation = ann.begin(ben)
    ben.write(conversation, "before")
    with run(client, talk, ann, str(conversation)) as terminal:
        terminal.wait_for("1 .*: before")
        terminal.type("one")
        terminal.wait_for("sent 2")
        ben.write(conversation, "two")
        terminal.wait_for("3 .*: two")

        talk.cable.pull()
        ben.write(conversation, "three")
        terminal.type("four")
        talk.cable.mend()
        terminal.wait_for("open .*", times=2)
        terminal.wait_for("sent 5")
        ben.write(conversation, "five")
        terminal.wait_for("6 .*: five")
        assert terminal.end() == 0

    shown = ["1 before", "2 one", "3 two", "4 three", "5 four", "6 five"]
    assert terminal.shown == shown


@every_client
def test_what_was_typed_last_is_sent_before_the_end(client: str, talk: Talk) -> None:
    """As from a pipe; a new reader asks the editors' desk."""
    with run(client, talk, None, "desk") as terminal:
        terminal.wait_for("open .*")
        terminal.type("what is new")
        assert terminal.end() == 0

    assert terminal.matching("sent 1") == ["sent 1"]


@every_client
def test_a_client_that_the_server_wants_no_more_ends_and_says_why(client: str, talk: Talk) -> None:
    """Close code 4409: a sixth connection of the same reader."""
    ann, ben = Person(talk), Person(talk)
    conversation = str(ann.begin(ben))
    with ExitStack() as stack:
        terminals = []
        for _ in range(6):
            terminals.append(stack.enter_context(run(client, talk, ann, conversation)))
            terminals[-1].wait_for("open .*")
        terminals[0].wait_for(".*stopped.*4409.*")
        assert terminals[0].process.wait(PATIENCE_S) == 1


@every_client
def test_a_line_that_is_too_long_is_refused_and_the_next_one_sent(client: str, talk: Talk) -> None:
    """The longest that may be sent is too long for a frame, and goes by REST."""
    ann, ben = Person(talk), Person(talk)
    with run(client, talk, ann, str(ann.begin(ben))) as terminal:
        terminal.type("x" * 16_385)
        terminal.type("x" * 16_384)
        terminal.type("short")
        terminal.wait_for("refused message.too.long")
        terminal.wait_for("sent 2")
        assert terminal.matching("sent .*") == ["sent 1", "sent 2"]
        assert not terminal.matching("(waiting|stopped).*")


@every_client
def test_a_client_ends_that_has_begun_enough_conversations_for_a_day(
    client: str, talk: Talk
) -> None:
    """Which is 429, as the limit of a minute that a client waits for."""
    ann = Person(talk)
    group = {"kind": "group", "title": "a", "reader_ids": []}
    for _ in range(MOST_STARTED):
        assert ann.ask("POST", "/conversations", group).status == 201
    with run(client, talk, ann, "desk") as terminal:
        terminal.wait_for(".*This was done too often today")
        assert terminal.process.wait(PATIENCE_S) == 1


@every_client
@pytest.mark.parametrize("wrong", [(), ("http://127.0.0.1:8000", "desks")])
def test_a_client_says_how_it_is_used(client: str, wrong: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*CLIENTS[client], *wrong],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    usage = "usage: chat SITE CONVERSATION, which is a number or desk\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", usage)


@every_client
def test_a_client_ends_whose_reader_is_not_in_the_conversation(client: str, talk: Talk) -> None:
    ann, ben, eve = Person(talk), Person(talk), Person(talk)
    with run(client, talk, eve, str(ann.begin(ben))) as terminal:
        terminal.wait_for(".*There is no such conversation")
        assert terminal.process.wait(PATIENCE_S) == 1
