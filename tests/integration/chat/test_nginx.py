"""deploy/nginx.conf, as an operator copies it, in front of a gateway and a node of the chat: one
origin for pages, REST, sockets and streams."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.faults.gateway_site import GatewaySite, start_gateway
from tests.lab.chat import ChatClient, ChatNode, start_chat_node
from tests.lab.nginx import DEPLOYED, NAME, Front, serve_gateway
from tests.lab.servers import wait_until
from tidings.http.reader_id import HOST_COOKIE
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings

SITE = f"https://{NAME}"


@dataclass(frozen=True, slots=True)
class Whole:
    """nginx, with a gateway and a node of the chat behind it."""

    front: Front
    gateway: GatewaySite
    node: ChatNode

    def ask(
        self, method: str, path: str, wanted: Any = None, **headers: str
    ) -> tuple[int, Any, Message]:
        """Status, JSON and headers of one request over a connection of its own."""
        connection = self.front.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            body = None if wanted is None else json.dumps(wanted)
            if body is not None:
                named["Content-Type"] = "application/json"
            connection.request(method, path, body, {"Host": NAME, **named})
            answer = connection.getresponse()
            raw = answer.read()
            is_json = "json" in (answer.headers["Content-Type"] or "")
            return answer.status, json.loads(raw) if is_json else raw, answer.headers
        finally:
            connection.close()

    def visitor(self) -> tuple[str, int]:
        """The cookie of a new reader, and its id, as the front page gives it."""
        _, _, headers = self.ask("GET", "/")
        cookie = headers["Set-Cookie"].partition(";")[0]
        return cookie, int(cookie.partition("=")[2].partition(".")[0])

    def open_socket(self, ticket: str, origin: str = SITE, **options: Any) -> ChatClient:
        return ChatClient(
            f"wss://{NAME}:{self.front.port}/ws",
            ticket,
            sock=socket.create_connection(("127.0.0.1", self.front.port), timeout=30),
            ssl=self.front.tls_of_threads,
            origin=origin,
            **options,
        )

    @contextmanager
    def open_stream(self, cookie: str) -> Iterator[http.client.HTTPResponse]:
        connection = self.front.connect()
        try:
            headers = {"Host": NAME, "Cookie": cookie, "Accept": "text/event-stream"}
            connection.request("GET", "/events", headers=headers)
            yield connection.getresponse()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "front").mkdir()
    with ExitStack() as stack:
        gateway = stack.enter_context(start_gateway(folder, site_url=SITE))
        environment = {**gateway.process.env, f"{PREFIX}SITE_URL": SITE}
        node = stack.enter_context(start_chat_node(environment, folder))
        front = stack.enter_context(
            serve_gateway(
                f"127.0.0.1:{gateway.port}",
                folder / "pages",
                folder / "front",
                chat=f"127.0.0.1:{node.port}",
            )
        )
        yield Whole(front, gateway, node)


def test_the_gateway_tells_a_page_that_the_chat_is_at_its_own_origin(whole: Whole) -> None:
    """The page's content policy allows that, and no other address."""
    cookie, _ = whole.visitor()

    _, _, page = whole.ask("GET", "/")
    status, ticket, _ = whole.ask(
        "POST", "/reader/chat-ticket", Cookie=cookie, Sec_Fetch_Site="same-origin"
    )

    assert f"connect-src 'self' {SITE} wss://{NAME}" in page["Content-Security-Policy"]
    assert (status, ticket["url"], ticket["rest"]) == (200, f"wss://{NAME}/ws", SITE)


def test_two_readers_talk_through_nginx_one_by_socket_and_one_by_http(whole: Whole) -> None:
    (ann, ann_id), (ben, _) = whole.visitor(), whole.visitor()
    _, ticket, _ = whole.ask("POST", "/reader/chat-ticket", Cookie=ann)
    made, conversation, headers = whole.ask(
        "POST", "/conversations", {"kind": "direct", "reader_id": ann_id}, Cookie=ben, Origin=SITE
    )
    assert (made, headers["Cache-Control"]) == (201, "private, no-store")
    path = f"/conversations/{conversation['conversation_id']}/messages"

    with whole.open_socket(ticket["ticket"]) as chat:
        assert chat.welcome["reader_id"] == ann_id
        sent, _, _ = whole.ask("POST", path, {"cid": "c1", "body": "hello"}, Cookie=ben)
        heard = chat.await_type("message")
        chat.send(
            {
                "type": "send",
                "cid": "c2",
                "conversation_id": conversation["conversation_id"],
                "body": "hi",
            }
        )
        assert chat.await_type("ack")["seq"] == 2

    assert (sent, heard["body"]) == (201, "hello")
    _, history, _ = whole.ask("GET", path, Cookie=ben)
    assert [one["body"] for one in history["results"]] == ["hi", "hello"]


def test_a_stream_comes_through_nginx_event_by_event(whole: Whole) -> None:
    """Trap: a proxy that buffers gives the first event when the last one was sent."""
    (ann, ann_id), (ben, _) = whole.visitor(), whole.visitor()
    _, conversation, _ = whole.ask(
        "POST", "/conversations", {"kind": "direct", "reader_id": ann_id}, Cookie=ben
    )
    path = f"/conversations/{conversation['conversation_id']}/messages"

    with whole.open_stream(ann) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert _await_event(stream, "welcome")["reader_id"] == ann_id
        whole.ask("POST", path, {"cid": "c1", "body": "hello"}, Cookie=ben)
        assert _await_event(stream, "message")["body"] == "hello"


def test_a_page_of_another_site_opens_no_socket_and_writes_nothing(whole: Whole) -> None:
    cookie, _ = whole.visitor()
    _, ticket, _ = whole.ask("POST", "/reader/chat-ticket", Cookie=cookie)
    evil = "https://evil.example"

    with pytest.raises(InvalidStatus) as refused:
        whole.open_socket(ticket["ticket"], evil).__enter__()
    status, told, _ = whole.ask("PUT", "/reader/blocks/7", Cookie=cookie, Origin=evil)

    assert refused.value.response.status_code == 403
    assert (status, told["type"]) == (403, "/docs#foreign-write")


def test_what_the_chat_says_is_a_problem_that_the_docs_of_the_gateway_list(whole: Whole) -> None:
    cookie, _ = whole.visitor()

    status, told, headers = whole.ask(
        "GET", "/conversations/77", Cookie=cookie, X_Request_Id="mine-1"
    )
    _, docs, _ = whole.ask("GET", "/docs")
    _, chat_docs, _ = whole.ask("GET", "/chat/docs")

    assert (status, headers["X-Request-Id"]) == (404, "mine-1")
    assert told["type"] == "/docs#unknown-conversation"
    assert b'id="unknown-conversation"' in docs
    assert b"/articles" in docs
    assert b"/conversations/{conversation_id}" in chat_docs


def test_while_the_chat_is_away_the_gateway_serves_and_a_caller_is_told_to_come_again(
    tmp_path: Path, whole: Whole
) -> None:
    with serve_gateway(
        f"127.0.0.1:{whole.gateway.port}", tmp_path, tmp_path, chat="127.0.0.1:1"
    ) as front:
        alone = Whole(front, whole.gateway, whole.node)
        cookie, _ = alone.visitor()
        status, told, headers = alone.ask("GET", "/conversations", Cookie=cookie)

    assert (status, told["type"], headers["Retry-After"]) == (502, "/docs#gateway-away", "1")


def test_the_times_of_nginx_go_with_those_of_the_chat() -> None:
    """A socket that nginx calls silent must be dead for the chat, and a connection that nginx keeps
    must not be one that the chat closes."""
    deployed, settings = DEPLOYED.read_text(), read_settings(None).chat

    assert deployed.count("proxy_read_timeout 75s;") == 2
    assert settings.ping_every_s < settings.dead_after_s < 75
    chat = deployed.partition("upstream tidings_chat {")[2].partition("}")[0]
    assert "keepalive_timeout 3s;" in chat
    assert settings.hello_s > 3


def _await_event(stream: http.client.HTTPResponse, kind: str) -> dict[str, Any]:
    """The next event of this kind, as it comes."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        line = stream.readline().decode()
        if line.startswith("data: ") and (said := json.loads(line[6:]))["type"] == kind:
            found.append(said)
        return bool(found)

    wait_until(look, 30, f"an event {kind}")
    return found[0]


def test_the_cookie_of_a_page_over_https_is_known_to_the_chat(whole: Whole) -> None:
    cookie, _ = whole.visitor()

    status, unread, _ = whole.ask("GET", "/conversations/unread", Cookie=cookie)

    assert cookie.startswith(f"{HOST_COOKIE}=")
    assert (status, unread["messages"]) == (200, 0)
