"""The chat's HTTP as a node answers it: beside its sockets, and while a store is away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.lab.chat import SECRET_KEY, ChatClient, ChatNode, make_chat_site
from tests.lab.servers import start_mariadb, start_redis, wait_until
from tidings.http.reader_id import ReaderSigner

ANN, BEN = 2**52 + 1, 2**52 + 2
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, with any status."""

    status: int
    json: Any
    retry_after: str | None


def ask(node: ChatNode, reader_id: int, method: str, path: str, wanted: Any = None) -> Answer:
    """One request of a reader, by its signed id."""
    signed = ReaderSigner([SECRET_KEY.encode()]).sign(reader_id)
    request = Request(f"{node.http}{path}", method=method, headers={"X-Reader": signed})
    if wanted is not None:
        request.data = json.dumps(wanted).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with _open(request, timeout=30) as answer:
            raw = answer.read()
            return Answer(answer.status, json.loads(raw or b"null"), None)
    except HTTPError as ex:
        with ex:
            return Answer(ex.code, json.loads(ex.read()), ex.headers["Retry-After"])


def start(node: ChatNode) -> str:
    """The path of the messages between ann and ben."""
    made = ask(node, ANN, "POST", "/conversations", {"kind": "direct", "reader_id": BEN})
    assert made.status == 201
    return f"/conversations/{made.json['conversation_id']}/messages"


def store(node: ChatNode, path: str, wanted: Any) -> Answer:
    """Send a message, and again while it cannot be stored in time; the answer, once it is."""
    answers: list[Answer] = []

    def is_stored() -> bool:
        answers.append(ask(node, ANN, "POST", path, wanted))
        return answers[-1].status == 201

    wait_until(is_stored, 60, "a message that is stored")
    return answers[-1]


def test_what_is_done_over_http_is_told_at_the_sockets_of_every_node(tmp_path: Path) -> None:
    with start_redis() as redis:
        site = make_chat_site(tmp_path, redis.url)
        with (
            site.start_node() as one,
            site.start_node() as two,
            ChatClient(two.url, site.ticket(BEN)) as ben,
        ):
            path = start(one)
            sent = store(one, path, {"cid": "c", "body": "helo"})
            ask(one, ANN, "PATCH", f"{path}/1", {"body": "hello"})
            ask(one, ANN, "PUT", path.replace("messages", "read"), {"seq": 1})
            ask(one, ANN, "DELETE", f"{path}/1")

            told = [ben.receive() for _ in range(4)]

            def who_is_here() -> dict[int, bool]:
                people = ask(one, ANN, "GET", path.replace("messages", "members")).json["results"]
                return {each["reader_id"]: each["here"] for each in people}

            # A node writes down once a second who has come to it.
            wait_until(lambda: who_is_here() == {ANN: False, BEN: True}, 60, "Ben is here")

    assert [frame["type"] for frame in told] == ["message", "edited", "read", "deleted"]
    assert told[0]["at"] == sent.json["at"]
    assert [frame.get("body") for frame in told[:2]] == ["helo", "hello"]


def test_while_redis_is_away_messages_are_written_and_read_over_http(tmp_path: Path) -> None:
    """Presence is not known then, and nothing is limited."""
    with start_redis() as redis:
        site = make_chat_site(tmp_path, redis.url)
        with site.start_node() as node:
            path = start(node)
            redis.stop()
            store(node, path, {"cid": "c", "body": "hello"})
            read = ask(node, BEN, "GET", path)
            people = ask(node, BEN, "GET", path.replace("messages", "members"))

    assert [one["body"] for one in read.json["results"]] == ["hello"]
    assert {one["here"] for one in people.json["results"]} == {None}


def test_while_the_database_is_away_a_caller_is_told_when_to_come_back(tmp_path: Path) -> None:
    """And a message that is sent again then is one message."""
    wanted = {"cid": "c", "body": "hello"}
    with start_redis() as redis, start_mariadb() as database:
        site = make_chat_site(tmp_path, redis.url, database.new_database())
        with site.start_node() as node:
            path = start(node)
            database.kill()
            refused = [ask(node, ANN, "POST", path, wanted), ask(node, ANN, "GET", path)]
            database.start()
            store(node, path, wanted)
            again = store(node, path, wanted)
            read = ask(node, BEN, "GET", path)

    assert [(one.status, one.json["type"]) for one in refused] == [
        (503, "/docs#overloaded"),
        (503, "/docs#store-unavailable"),
    ]
    assert all(int(one.retry_after or 0) > 0 for one in refused)
    assert (again.status, again.json["seq"]) == (201, 1)
    assert len(read.json["results"]) == 1


def test_who_is_refused_stands_in_the_log_of_the_chat(tmp_path: Path) -> None:
    with start_redis() as redis:
        site = make_chat_site(tmp_path, redis.url)
        with site.start_node() as node:
            path = start(node)
            foreign = ask(node, 2**52 + 3, "GET", path)
            status, _ = node.get("/conversations")

            def read_lines() -> list[dict[str, Any]]:
                whole = node.output.rpartition("\n")[0]
                return [json.loads(line) for line in whole.splitlines() if line[:1] == "{"]

            def read_told() -> list[dict[str, Any]]:
                return [line for line in read_lines() if "problem" in line]

            wait_until(lambda: len(read_told()) >= 2, 30, "both requests to be written down")
            lines, told = read_lines(), read_told()

    assert (foreign.status, status) == (404, 401)
    assert {line["event"] for line in told} == {"request"}
    assert [(line["status"], line["problem"]) for line in told] == [
        (404, "unknown-conversation"),
        (401, "reader-needed"),
    ]
    # A request, the main greenlet, and the one that reads the bus.
    assert "bus_begins" in {line["event"] for line in lines}
    assert {line.get("process") for line in lines} == {"chat"}
    assert ["address" in line for line in told] == [False, True]
    assert "hello" not in node.output
