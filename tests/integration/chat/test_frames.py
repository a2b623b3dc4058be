"""What goes over a socket is what docs/chat-frames.schema.json says it is, in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Engine

from tests.lab.chat import ChatClient, ChatNode, ChatSite
from tidings.store.transacting import transact
from tidings.talk.blocks import block
from tidings.talk.conversations import rename, start_direct, start_group
from tidings.talk.joining import add_members, leave
from tidings.talk.notices import NoticeType, notify

DOCS = Path(__file__).parents[3] / "docs"
SCHEMAS = json.loads((DOCS / "chat-frames.schema.json").read_text())
Reader = Callable[[], int]


def validate(frame: Mapping[str, Any], direction: str) -> None:
    """Raises:
    jsonschema.ValidationError: it is not as its schema says.
    """
    schema = SCHEMAS | {"anyOf": [{"$ref": f"#/$defs/{direction}"}]}
    jsonschema.Draft202012Validator(schema).validate(frame)


class CheckedClient(ChatClient):
    """One that believes the schemas.

    Attributes:
        heard: the types of all that it heard.
    """

    heard: set[str]

    def send(self, frame: Mapping[str, Any]) -> None:
        validate(frame, "FromClient")
        super().send(frame)

    def receive(self, timeout_s: float = 30) -> dict[str, Any]:
        frame = super().receive(timeout_s)
        validate(frame, "FromServer")
        self.heard = getattr(self, "heard", set()) | {frame["type"]}
        return frame


@pytest.fixture
def talk(site: ChatSite) -> Iterator[Engine]:
    """The site's database."""
    with site.open_engine() as engine:
        yield engine


def test_every_frame_fits_its_schema(
    site: ChatSite, node: ChatNode, talk: Engine, new_reader: Reader
) -> None:
    """All that a client may say, and all that it may be told but for a reset."""
    one, other, third = new_reader(), new_reader(), new_reader()
    direct = transact(talk, lambda conn: start_direct(conn, one, other)).conversation_id
    with (
        CheckedClient(node.url, site.ticket(one)) as client,
        CheckedClient(node.url, site.ticket(other)) as friend,
    ):
        client.send({"type": "ping", "ref": "p"})
        client.await_type("pong")
        client.send(
            {"type": "send", "cid": "c1", "conversation_id": direct, "body": "Good mornnig"}
        )
        seq = client.await_type("ack")["seq"]
        assert friend.await_type("message")["body"] == "Good mornnig"
        place = {"conversation_id": direct, "seq": seq}
        client.send({"type": "edit", **place, "body": "Good morning", "ref": "e"})
        assert friend.await_type("edited")["body"] == "Good morning"
        friend.send({"type": "typing", "conversation_id": direct})
        client.await_type("typing")
        friend.send({"type": "read", **place, "ref": "r"})
        assert client.await_type("read")["reader_id"] == other
        client.send({"type": "delete", **place, "ref": "d"})
        friend.await_type("deleted")
        client.send({"type": "edit", "conversation_id": 404, "seq": 1, "body": "!", "ref": "n"})
        assert client.await_type("error")["code"] == "not_a_member"

        transact(
            talk,
            lambda conn: notify(
                conn,
                audience=one,
                type=NoticeType.ORDER_PAID,
                subject="order:1",
                data={"order_id": 1, "total_cents": 5, "currency": "EUR"},
            ),
        )
        notice = client.await_type("notice")["notice"]
        client.send({"type": "read_notices", "seq": notice["seq"], "ref": "rn"})
        client.await_type("notices_read")

        group = transact(
            talk, lambda conn: start_group(conn, one, title="Friday", member_ids=[other])
        ).conversation_id
        transact(talk, lambda conn: rename(conn, one, group, title="Saturday"))
        transact(talk, lambda conn: add_members(conn, one, group, member_ids=[third]))
        transact(talk, lambda conn: leave(conn, third, group))
        changes = [client.await_type("conversation")["change"] for _ in range(4)]
        assert changes == ["created", "renamed", "joined", "left"]
        transact(talk, lambda conn: block(conn, other, one))
        client.send({"type": "send", "cid": "c2", "conversation_id": group, "body": "Hello"})
        assert friend.await_type("message")["hidden"]

        friend.send({"type": "subscribe", "topic": f"presence:{one}", "ref": "s"})
        friend.send({"type": "unsubscribe", "topic": f"presence:{one}", "ref": "u"})
        client.send({"type": "ping"})
        client.await_type("pong")

        assert client.heard | friend.heard >= {
            *("welcome", "ack", "ok", "error", "pong", "message", "edited", "deleted", "read"),
            *("conversation", "notice", "notices_read", "typing"),
        }


def test_the_docs_list_every_request(node: ChatNode) -> None:
    """All that is described, but for what is no reader's business."""
    status, described = node.get("/chat/openapi.json")
    paths = json.loads(described)["paths"]
    requests = {
        f"{method.upper()} {re.sub('{.*?}', '*', path)}"
        for path, operations in paths.items()
        if not path.startswith(("/health", "/events"))
        for method in operations
        if method != "parameters"
    }
    page = (DOCS / "chat.md").read_text()
    told = set()
    for method, path, meaning in re.findall(r"^\| `([A-Z]+) (/\S+)` \| (.*) \|$", page, re.M):
        place = re.sub("(?<=/)[A-Z]+", "*", path)
        told |= {f"{method} {place}"}
        if "`DELETE` of the same path" in meaning:
            told |= {f"DELETE {place}"}

    assert status == 200
    assert told == requests
