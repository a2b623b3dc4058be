"""Two nodes as processes, and readers at both: what is stored is told everywhere, to those it is
for and to no other, and a client that comes back to either node has missed nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import Engine
from websockets.exceptions import ConnectionClosed

from tests.lab.chat import ANSWER_TIMEOUT_S, SECRET_KEY, ChatClient, ChatNode, ChatSite, closed_by
from tests.lab.servers import wait_until
from tidings.http.reader_id import HEADER, ReaderSigner
from tidings.readers.keys import Role, add_key, revoke_key
from tidings.store.engine import transaction
from tidings.talk.blocks import block
from tidings.talk.conversations import start_direct, start_group
from tidings.talk.joining import remove_member
from tidings.talk.notices import OPERATORS, NoticeType, notify

NewReader = Callable[[], int]
_cids = (f"cid-{number}" for number in count())


@pytest.fixture(scope="module")
def other(site: ChatSite) -> Iterator[ChatNode]:
    """A second node of the site."""
    with site.start_node() as node:
        yield node


@pytest.fixture(scope="module")
def engine(site: ChatSite) -> Iterator[Engine]:
    """As the gateway has one: it has no part in the bus."""
    with site.open_engine() as engine:
        yield engine


@pytest.fixture
def pair(engine: Engine, new_reader: NewReader) -> tuple[int, int, int]:
    """Two readers and their conversation."""
    one, two = new_reader(), new_reader()
    with transaction(engine) as conn:
        return one, two, start_direct(conn, one, two).conversation_id


def say(client: ChatClient, conversation_id: int, body: str) -> dict[str, Any]:
    """Send a message; the answer, once it is stored."""
    return client.say(conversation_id, body, next(_cids))


def come_back(stack: ExitStack, node: ChatNode, ticket: str, **hello: Any) -> ChatClient:
    client = stack.enter_context(ChatClient(node.url))
    client.send({"type": "hello", "ticket": ticket, **hello})
    client.welcome = client.await_type("welcome")
    return client


def await_change(client: ChatClient, change: str) -> None:
    """A conversation changed in this way; other changes of it may be told first."""
    while client.await_type("conversation")["change"] != change:
        pass


def bodies(client: ChatClient, until: str) -> list[str | None]:
    """The texts of the messages that come, up to this one; None where one is hidden."""
    found: list[str | None] = []
    while until not in found:
        found.append(client.await_type("message").get("body"))
    return found


def test_a_message_reaches_both_readers_through_two_nodes(
    site: ChatSite, node: ChatNode, other: ChatNode, pair: tuple[int, int, int]
) -> None:
    one, two, conversation_id = pair
    with (
        ChatClient(node.url, site.ticket(one)) as here,
        ChatClient(other.url, site.ticket(two)) as there,
    ):
        ack = say(here, conversation_id, "Good morning")
        mine, theirs = here.await_type("message"), there.await_type("message")

    assert mine == theirs
    assert (theirs["seq"], theirs["body"], theirs["sender_id"]) == (1, "Good morning", one)
    assert (ack["seq"], ack["at"]) == (1, theirs["at"])


def test_a_client_that_comes_back_to_another_node_is_told_what_it_missed_and_no_more(
    site: ChatSite, node: ChatNode, other: ChatNode, pair: tuple[int, int, int]
) -> None:
    one, two, conversation_id = pair
    with ExitStack() as stack:
        here = stack.enter_context(ChatClient(node.url, site.ticket(one)))
        with ChatClient(other.url, site.ticket(two)) as there:
            say(here, conversation_id, "before")
            pos = there.await_type("message")["pos"]
        for number in range(5):
            say(here, conversation_id, f"missed {number}")
        back = come_back(stack, node, site.ticket(two), pos=pos)
        say(here, conversation_id, "after")

        assert back.welcome["recovered"]
        assert "unread" not in back.welcome
        assert bodies(back, "after") == [*(f"missed {number}" for number in range(5)), "after"]


@pytest.mark.parametrize("pos", [None, "0123abcd.1-0", "nothing"])
def test_a_client_that_shows_no_place_of_this_bus_loads_anew(
    site: ChatSite, node: ChatNode, pair: tuple[int, int, int], pos: str | None
) -> None:
    one, two, conversation_id = pair
    welcomes: list[dict[str, Any]] = []

    def is_counted() -> bool:
        """A node that has no time for the count leaves it out."""
        with ExitStack() as stack:
            welcomes.append(come_back(stack, node, site.ticket(two), pos=pos).welcome)
        return "unread" in welcomes[-1]

    with ChatClient(node.url, site.ticket(one)) as here:
        say(here, conversation_id, "unread")
        wait_until(is_counted, 30, "a welcome with the count")

    assert [welcome["recovered"] for welcome in welcomes] == [False] * len(welcomes)
    assert welcomes[-1]["unread"] == {"conversations": 1, "notices": 0}


def test_a_member_who_was_removed_meanwhile_is_told_nothing_of_what_came_after(
    site: ChatSite, node: ChatNode, other: ChatNode, engine: Engine, new_reader: NewReader
) -> None:
    owner, gone = new_reader(), new_reader()
    with transaction(engine) as conn:
        group = start_group(conn, owner, title="Friday", member_ids=[gone]).conversation_id
        apart = start_direct(conn, owner, gone).conversation_id
    with ExitStack() as stack:
        here = stack.enter_context(ChatClient(node.url, site.ticket(owner)))
        with ChatClient(other.url, site.ticket(gone)) as there:
            say(here, group, "for both")
            pos = there.await_type("message")["pos"]
        with transaction(engine) as conn:
            remove_member(conn, owner, group, member_id=gone)
        await_change(here, "left")
        say(here, group, "for one alone")
        back = come_back(stack, other, site.ticket(gone), pos=pos)
        await_change(back, "left")
        say(here, apart, "last")

        assert bodies(back, "last") == ["last"]


def test_a_member_who_blocks_the_sender_has_the_number_without_the_words(
    site: ChatSite, node: ChatNode, other: ChatNode, engine: Engine, new_reader: NewReader
) -> None:
    """Live and when coming back."""
    sender, blocker, third = new_reader(), new_reader(), new_reader()
    with transaction(engine) as conn:
        group = start_group(conn, sender, title="Friday", member_ids=[blocker, third])
        block(conn, blocker, sender)
    with ExitStack() as stack:
        here = stack.enter_context(ChatClient(node.url, site.ticket(sender)))
        blocking = stack.enter_context(ChatClient(other.url, site.ticket(blocker)))
        reading = stack.enter_context(ChatClient(other.url, site.ticket(third)))
        pos = blocking.welcome["pos"]
        say(here, group.conversation_id, "heard by one")
        heard, hidden = reading.await_type("message"), blocking.await_type("message")
        again = come_back(stack, node, site.ticket(blocker), pos=pos).await_type("message")

    assert heard["body"] == "heard by one"
    assert hidden == again
    assert hidden == {key: heard[key] for key in heard if key != "body"} | {"hidden": True}


def test_what_the_gateway_stores_is_told_at_once(
    site: ChatSite, node: ChatNode, engine: Engine, new_reader: NewReader
) -> None:
    reader_id = new_reader()
    with ChatClient(node.url, site.ticket(reader_id)) as client:
        with transaction(engine) as conn:
            notify(
                conn,
                audience=reader_id,
                type=NoticeType.ORDER_PAID,
                subject="order:1",
                data={"order_id": 1},
            )
        notice = client.await_type("notice")["notice"]
        client.send({"type": "read_notices", "seq": notice["seq"]})
        read = client.await_type("notices_read")

    assert notice["subject"] == "order:1"
    assert (read["audience"], read["seq"]) == (reader_id, notice["seq"])


def test_a_topic_is_told_to_those_who_may_follow_it(
    site: ChatSite, node: ChatNode, other: ChatNode, engine: Engine, new_reader: NewReader
) -> None:
    """An operator who comes back with the topic has missed nothing of it."""
    with transaction(engine) as conn:
        desk = add_key(conn, "topic-desk", Role.OPERATOR).key
    ticket = site.ticket(desk.reader_id, desk)
    with ExitStack() as stack:
        reader = stack.enter_context(ChatClient(node.url, site.ticket(new_reader())))
        reader.send({"type": "subscribe", "topic": "operator", "ref": "s"})
        refused = reader.await_type("error")
        pos = come_back(stack, node, ticket, topics=["operator"]).welcome["pos"]
        with transaction(engine) as conn:
            notify(
                conn,
                audience=OPERATORS,
                type=NoticeType.JOB_DEAD,
                subject="job:1",
                data={"kind": "pages"},
            )
        back = come_back(
            stack, other, site.ticket(desk.reader_id, desk), pos=pos, topics=["operator"]
        )
        told = back.await_type("notice")

    assert (refused["code"], refused["ref"]) == ("not_yours", "s")
    assert told["notice"]["subject"] == "job:1"


@pytest.mark.parametrize("topic", ["article:0", "article:x", "weather", "presence:", "operator "])
def test_a_topic_that_there_is_not_is_refused(
    site: ChatSite, node: ChatNode, new_reader: NewReader, topic: str
) -> None:
    with ChatClient(node.url, site.ticket(new_reader())) as client:
        client.send({"type": "subscribe", "topic": topic})

        assert client.await_type("error")["code"] == "invalid"


def test_a_socket_follows_so_many_topics_and_no_more(
    site: ChatSite, node: ChatNode, new_reader: NewReader
) -> None:
    topics = [f"article:{number}" for number in range(1, 21)]
    with ExitStack() as stack:
        client = come_back(stack, node, site.ticket(new_reader()), topics=topics)
        client.send({"type": "subscribe", "topic": "article:99"})
        refused = client.await_type("error")
        client.send({"type": "unsubscribe", "topic": "article:1", "ref": "less"})
        client.send({"type": "subscribe", "topic": "article:99", "ref": "more"})

        assert refused["code"] == "quota"
        assert [client.await_type("ok")["ref"] for _ in range(2)] == ["less", "more"]


def test_edits_marks_and_refusals_are_answered(
    site: ChatSite, node: ChatNode, other: ChatNode, pair: tuple[int, int, int]
) -> None:
    one, two, conversation_id = pair
    place = {"conversation_id": conversation_id, "seq": 1}
    with (
        ChatClient(node.url, site.ticket(one)) as here,
        ChatClient(other.url, site.ticket(two)) as there,
    ):
        say(here, conversation_id, "Good mornig")
        here.send({"type": "edit", **place, "body": "Good morning"})
        edited = there.await_type("edited")
        there.send({"type": "edit", **place, "body": "Bad morning", "ref": "e"})
        refused = there.await_type("error")
        there.send({"type": "read", **place, "ref": "r"})
        assert there.await_type("ok")["ref"] == "r"
        read = here.await_type("read")
        there.send({"type": "read", **place, "seq": 2, "ref": "f"})
        future = there.await_type("error")
        here.send({"type": "delete", **place})
        deleted = there.await_type("deleted")

    assert edited["body"] == "Good morning"
    assert (refused["code"], refused["ref"]) == ("not_yours", "e")
    assert (read["reader_id"], read["seq"]) == (two, 1)
    assert future["code"] == "no_such_message"
    assert deleted["seq"] == 1


def test_typing_is_told_to_the_others_alone(
    site: ChatSite, node: ChatNode, other: ChatNode, pair: tuple[int, int, int]
) -> None:
    one, two, conversation_id = pair
    with (
        ChatClient(node.url, site.ticket(one)) as here,
        ChatClient(other.url, site.ticket(two)) as there,
    ):
        here.send({"type": "typing", "conversation_id": conversation_id})
        typing = there.await_type("typing")
        here.send({"type": "send", "cid": "c", "conversation_id": conversation_id, "body": "so"})
        told = {here.receive()["type"] for _ in range(2)}

        assert (typing["conversation_id"], typing["reader_id"]) == (conversation_id, one)
        assert told == {"ack", "message"}, "and not what it said itself"


def test_presence_is_told_to_those_who_share_a_conversation(
    site: ChatSite,
    node: ChatNode,
    other: ChatNode,
    pair: tuple[int, int, int],
    new_reader: NewReader,
) -> None:
    one, two, _ = pair
    with ChatClient(node.url, site.ticket(one)) as here:
        here.send({"type": "subscribe", "topic": f"presence:{two}", "ref": "p"})
        before = here.await_type("presence")
        assert here.await_type("ok")["ref"] == "p"
        with ChatClient(other.url, site.ticket(two)):
            after = here.await_type("presence")
        here.send({"type": "subscribe", "topic": f"presence:{new_reader()}"})
        refused = here.await_type("error")

    assert [before["is_here"], after["is_here"]] == [False, True]
    assert refused["code"] == "not_a_member"


def test_a_key_that_is_revoked_closes_its_sockets(site: ChatSite, engine: Engine) -> None:
    with transaction(engine) as conn:
        key, good = (add_key(conn, f"socket-{name}", Role.AUTHOR).key for name in ("one", "two"))
    with (
        site.start_node(chat_ping_every_s=0.2) as node,
        ChatClient(node.url, site.ticket(key.reader_id, key)) as client,
        ChatClient(node.url, site.ticket(good.reader_id, good)) as bystander,
    ):
        with transaction(engine) as conn:
            revoke_key(conn, key.name)
        with pytest.raises(ConnectionClosed) as ex:
            client.receive()
        bystander.send({"type": "ping"})

        assert closed_by(ex.value) == 4401
        assert bystander.await_type("pong")


def test_a_stream_of_events_tells_what_a_socket_is_told(
    site: ChatSite, node: ChatNode, other: ChatNode, pair: tuple[int, int, int]
) -> None:
    """And goes on behind the last event that it had, at either node."""
    one, two, conversation_id = pair
    with ChatClient(node.url, site.ticket(one)) as here:
        with open_stream(other, two) as stream:
            welcome = next(events(stream))
            say(here, conversation_id, "one")
            first = next(events(stream))
        say(here, conversation_id, "two")
        with open_stream(node, two, last_event_id=first["id"]) as stream:
            back, missed = (next(events(stream)) for _ in range(2))

    assert welcome["data"]["type"] == "welcome"
    assert first["data"]["body"] == "one"
    assert first["id"] == first["data"]["pos"]
    assert back["data"]["recovered"]
    assert missed["data"]["body"] == "two"


def test_a_stream_that_its_client_leaves_is_gone(
    site: ChatSite, pair: tuple[int, int, int]
) -> None:
    """On a node of its own: at another one, streams of other tests may be found to have left."""
    one, two, conversation_id = pair
    with site.start_node() as node:

        def wait_for(count: int) -> None:
            wait_until(lambda: node.count("tidings_chat_listeners") == count, 30, "so many")

        with open_stream(node, two) as stream:
            next(events(stream))
            wait_for(1)
        with ChatClient(node.url, site.ticket(one)) as here:
            say(here, conversation_id, "to one who left")
            say(here, conversation_id, "and is found to have left")
        wait_for(0)


def test_a_stranger_gets_no_stream(node: ChatNode) -> None:
    assert node.get("/events")[0] == 401


def open_stream(node: ChatNode, reader_id: int, last_event_id: str = "") -> Any:
    reader = ReaderSigner([SECRET_KEY.encode()]).sign(reader_id)
    request = Request(f"{node.http}/events", headers={HEADER: reader})
    if last_event_id:
        request.add_header("Last-Event-ID", last_event_id)
    answer = urlopen(request, timeout=ANSWER_TIMEOUT_S)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    return answer


def events(stream: Any) -> Iterator[dict[str, Any]]:
    """Events with data, their `id` and `data`."""
    fields: dict[str, Any] = {}
    for raw in stream:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield fields | {"data": json.loads(fields["data"])}
            fields = {}
