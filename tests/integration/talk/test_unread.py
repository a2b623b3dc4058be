"""What is unread, compared with a model: read, send, delete, block and unblock by many at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.lab.talk import Talk
from tidings.talk.blocks import block, unblock
from tidings.talk.conversations import find_conversations, mute, read_conversation, unmute
from tidings.talk.errors import NoSuchMessageError, NotYoursError
from tidings.talk.history import delete, find_messages
from tidings.talk.joining import add_members, leave
from tidings.talk.marks import MOST_COUNTED, Unread, count_unread, mark_read
from tidings.talk.tables import message

READERS = 3
# Few cids: the two threads of a reader often send the same one at once.
CIDS = st.integers(0, 7)
OF_ANY_THREAD = (
    st.tuples(st.just("send"), CIDS)
    | st.tuples(st.just("read"), st.integers(1, 12))
    | st.tuples(st.just("delete"), st.integers(1, 12))
)
# A reader's own thread alone, so that it is known what came last.
OF_ONE_THREAD = OF_ANY_THREAD | st.tuples(
    st.sampled_from(["block", "unblock"]), st.integers(0, READERS - 1)
)
SCRIPTS = st.tuples(
    *[st.lists(OF_ONE_THREAD, min_size=3, max_size=10)] * READERS,
    *[st.lists(OF_ANY_THREAD, max_size=8)] * READERS,
)
_first_readers = count(1000, READERS)


@dataclass
class Model:
    """What was acknowledged. What happened in which order matters to nothing of it."""

    readers: Sequence[int]
    senders: dict[int, int] = field(default_factory=dict)  # seq → sender
    cids: dict[tuple[int, str], int] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    marks: dict[int, int] = field(default_factory=dict)
    blocks: dict[int, set[int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, reader: int, cid: str, seq: int) -> None:
        with self.lock:
            assert self.cids.setdefault((reader, cid), seq) == seq
            assert self.senders.setdefault(seq, reader) == reader

    def unread(self, reader: int) -> int:
        return sum(
            seq > self.marks.get(reader, 0)
            and sender != reader
            and seq not in self.deleted
            and sender not in self.blocks.get(reader, ())
            for seq, sender in self.senders.items()
        )


def act(
    talk: Talk, model: Model, group: int, reader: int, script: Sequence[tuple[str, int]]
) -> None:
    for name, n in script:
        match name:
            case "send":
                model.sent(reader, f"c{n}", talk.say(reader, group, f"text {n}", cid=f"c{n}").seq)
            case "read":
                try:
                    talk.do(mark_read, reader, group, seq=n)
                except NoSuchMessageError:
                    continue
                with model.lock:
                    model.marks[reader] = max(model.marks.get(reader, 0), n)
            case "delete":
                try:
                    talk.do(delete, reader, group, seq=n)
                except (NoSuchMessageError, NotYoursError):
                    continue
                with model.lock:
                    model.deleted.add(n)
            case "block" | "unblock" if model.readers[n] != reader:
                talk.do(block if name == "block" else unblock, reader, model.readers[n])
                blocked = model.blocks.setdefault(reader, set())
                (blocked.add if name == "block" else blocked.discard)(model.readers[n])


@given(scripts=SCRIPTS)
@settings(
    max_examples=25,
    # Threads never meet in the same way twice, so a smaller example proves nothing.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_unread_is_what_a_model_says_whatever_happens_at_once(
    talk: Talk, scripts: Sequence[Sequence[tuple[str, int]]]
) -> None:
    """In a group of three, each at two devices. Seqs have no holes, and a cid has one seq."""
    first = next(_first_readers)
    readers = range(first, first + READERS)
    group = talk.group(*readers)
    model = Model(readers)

    with ThreadPoolExecutor(len(scripts)) as pool:
        done = [
            pool.submit(act, talk, model, group, readers[n % READERS], script)
            for n, script in enumerate(scripts)
        ]
    for future in done:
        future.result()

    assert sorted(model.senders) == list(range(1, len(model.senders) + 1))
    for reader in readers:
        expected = model.unread(reader)
        assert talk.ask(read_conversation, reader, group).unread == expected
        assert talk.ask(count_unread, reader) == Unread(
            conversations=int(expected > 0), messages=expected
        )
    with talk.engine.connect() as conn:
        stored = conn.execute(
            select(message.c.seq, message.c.deleted_at).where(message.c.conversation_id == group)
        ).all()
    assert {row.seq for row in stored} == model.senders.keys()
    assert {row.seq for row in stored if row.deleted_at} == model.deleted


def test_a_model_that_counts_wrongly_would_be_noticed(talk: Talk) -> None:
    """The model counts each of the five things that matter."""
    group = talk.group(1, 2, 3)
    model = Model((1, 2, 3))
    act(talk, model, group, 2, [("send", 1), ("send", 2), ("send", 3), ("delete", 2)])
    act(talk, model, group, 3, [("send", 1)])
    act(talk, model, group, 1, [("send", 9), ("read", 1), ("block", 2)])

    assert (model.unread(1), model.unread(2), model.unread(3)) == (1, 2, 3)
    assert talk.ask(read_conversation, 1, group).unread == 1


def test_a_count_ends_at_what_is_told_as_more(talk: Talk) -> None:
    conversation = talk.direct(7, 9)
    for _ in range(MOST_COUNTED + 5):
        talk.say(9, conversation)

    assert talk.ask(read_conversation, 7, conversation).unread == MOST_COUNTED
    assert talk.ask(count_unread, 7) == Unread(conversations=1, messages=MOST_COUNTED)


def test_what_is_muted_is_not_in_the_badge_and_still_counted_in_the_list(talk: Talk) -> None:
    group, other = talk.group(7, 9), talk.direct(7, 9)
    talk.say(9, group)
    talk.say(9, other)
    talk.do(mute, 7, group)

    assert talk.ask(count_unread, 7) == Unread(conversations=1, messages=1)
    assert [one.unread for one in talk.ask(find_conversations, 7)] == [1, 1]

    talk.do(unmute, 7, group)
    assert talk.ask(count_unread, 7) == Unread(conversations=2, messages=2)


def test_many_conversations_are_counted_to_the_last(talk: Talk) -> None:
    """More than one statement takes, and of those that were written in last nothing is unread."""
    for other in range(100, 100 + MOST_COUNTED + 3):
        conversation = talk.direct(other, 7)
        talk.say(other if other == 100 else 7, conversation)

    assert talk.ask(count_unread, 7) == Unread(conversations=1, messages=1)


def test_who_comes_later_has_nothing_unread_from_before(talk: Talk) -> None:
    group = talk.group(7, 9)
    talk.say(7, group)
    talk.do(add_members, 7, group, member_ids=[12])
    talk.say(7, group)

    assert talk.ask(read_conversation, 12, group).unread == 1
    assert [said.seq for said in talk.ask(find_messages, 12, group, limit=9)] == [2]


def test_a_conversation_that_was_left_comes_back_with_the_next_message(talk: Talk) -> None:
    conversation = talk.direct(7, 9)
    talk.say(9, conversation)
    talk.do(leave, 7, conversation)
    assert talk.ask(find_conversations, 7) == []
    assert talk.ask(count_unread, 7) == Unread(conversations=0, messages=0)

    talk.say(9, conversation, "again")

    (shown,) = talk.ask(find_conversations, 7)
    assert (shown.unread, shown.last and shown.last.body) == (1, "again")
    assert [said.seq for said in talk.ask(find_messages, 7, conversation, limit=9)] == [2]
    assert len(talk.ask(find_messages, 9, conversation, limit=9)) == 2


def test_a_mark_never_goes_back_and_never_ahead(talk: Talk) -> None:
    conversation = talk.direct(7, 9)
    for _ in range(3):
        talk.say(9, conversation)

    assert talk.do(mark_read, 7, conversation, seq=2) == 2
    assert talk.do(mark_read, 7, conversation, seq=1) == 2
    assert talk.ask(read_conversation, 7, conversation).unread == 1
    with pytest.raises(NoSuchMessageError):
        talk.do(mark_read, 7, conversation, seq=4)
