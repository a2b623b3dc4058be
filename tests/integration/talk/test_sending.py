"""A message is stored once, under the next seq, for the members who may have it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from sqlalchemy import Connection, select

from tests.lab.talk import Talk, counted_statements
from tidings.talk.blocks import block, unblock
from tidings.talk.conversations import start_desk
from tidings.talk.errors import (
    BlockedError,
    CidConflictError,
    InvalidError,
    NotAMemberError,
    TalkError,
    TooLongError,
)
from tidings.talk.history import find_messages
from tidings.talk.joining import leave
from tidings.talk.members import DESK_ID
from tidings.talk.outbox import claim
from tidings.talk.sending import MOST_BODY_BYTES, MOST_SENDS, Refused, Send, Sent, send_many
from tidings.talk.tables import message

ANN, BEN, EVE = 7, 9, 12


def test_seqs_follow_each_other_in_each_conversation(talk: Talk) -> None:
    first, second = talk.direct(ANN, BEN), talk.group(ANN, BEN, EVE)

    seqs = [talk.say(who, where).seq for who in (ANN, BEN) for where in (first, second, first)]

    assert seqs == [1, 1, 2, 3, 2, 4]


def test_a_batch_is_answered_in_its_order_and_one_that_is_refused_harms_no_other(
    talk: Talk,
) -> None:
    theirs, foreign = talk.direct(ANN, BEN), talk.direct(BEN, EVE)
    sends = [
        Send(sender_id=ANN, cid="a", conversation_id=foreign, body="let me in"),
        Send(sender_id=ANN, cid="b", conversation_id=theirs, body="one"),
        Send(sender_id=BEN, cid="a", conversation_id=theirs, body="two"),
        Send(sender_id=ANN, cid="c", conversation_id=theirs, body=" "),
        Send(sender_id=ANN, cid="d", conversation_id=987_654, body="hello?"),
        Send(sender_id=BEN, cid="b", conversation_id=foreign, body="three"),
    ]

    answers = talk.do(send_many, sends)

    assert [answer.cid for answer in answers] == [send.cid for send in sends]
    assert [getattr(answer, "seq", None) for answer in answers] == [None, 1, 2, None, None, 1]
    assert [type(answer.error) for answer in answers if isinstance(answer, Refused)] == [
        NotAMemberError,
        InvalidError,
        NotAMemberError,
    ]
    assert [entry.to for entry in talk.entries] == ["7,9", "7,9", "9,12"]


def test_a_cid_sent_again_gives_the_seq_it_had(talk: Talk) -> None:
    """Also within one batch, and after the sender left."""
    group = talk.group(EVE, ANN, BEN)
    send = Send(sender_id=ANN, cid="c", conversation_id=group, body="hello")

    first, same = talk.do(send_many, [send, send])
    talk.say(BEN, group)
    again = talk.say(ANN, group, cid="c")
    talk.do(leave, ANN, group)

    assert first == same == again == talk.say(ANN, group, cid="c")
    assert len(talk.ask(find_messages, BEN, group, limit=10)) == 2
    assert len(talk.entries) == 1 + 2 + 1  # the group, two messages, who left


def test_a_cid_names_one_text_in_one_conversation(talk: Talk) -> None:
    """An edit in between changes nothing of that."""
    here, there = talk.direct(ANN, BEN), talk.direct(ANN, EVE)
    talk.say(ANN, here, "hello", cid="c")

    refused = [
        talk.try_say(ANN, here, "goodbye", cid="c"),
        talk.try_say(ANN, there, "hello", cid="c"),
    ]

    assert all(
        isinstance(said, Refused) and isinstance(said.error, CidConflictError) for said in refused
    )
    assert talk.say(EVE, there, "goodbye", cid="c").seq == 1


@pytest.mark.parametrize(
    ("body", "cid", "error"),
    [
        ("", "c", InvalidError),
        ("\n \t", "c", InvalidError),
        ("half a pair \ud83d", "c", InvalidError),
        ("a" * (MOST_BODY_BYTES + 1), "c", TooLongError),
        ("早" * (MOST_BODY_BYTES // 3 + 1), "c", TooLongError),
        ("hello", "c" * 65, InvalidError),
        ("hello", "两", InvalidError),
        ("hello", "a\nb", InvalidError),
        # To MariaDB this is "a", and its key would be violated at each of five attempts.
        ("hello", "a ", InvalidError),
        ("hello", " ", InvalidError),
    ],
)
def test_what_is_no_message_is_refused(
    talk: Talk, body: str, cid: str, error: type[TalkError]
) -> None:
    said = talk.try_say(ANN, talk.direct(ANN, BEN), body, cid=cid)

    assert isinstance(said, Refused)
    assert type(said.error) is error


@pytest.mark.parametrize(
    "body", ["a" * MOST_BODY_BYTES, "早" * (MOST_BODY_BYTES // 3), "\0 😀 '\\"]
)
def test_a_message_comes_back_as_it_was_sent(talk: Talk, body: str) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation, body)

    assert [said.body for said in talk.ask(find_messages, BEN, conversation, limit=1)] == [body]


def test_between_two_of_whom_one_blocks_the_other_nothing_is_sent(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.do(block, BEN, ANN)

    for sender in (ANN, BEN):
        said = talk.try_say(sender, conversation)
        assert isinstance(said, Refused)
        assert isinstance(said.error, BlockedError)

    talk.do(unblock, BEN, ANN)
    assert talk.say(ANN, conversation).seq == 1


def test_a_group_hears_a_blocked_member_and_who_blocks_gets_no_text(talk: Talk) -> None:
    group = talk.group(ANN, BEN, EVE)
    talk.do(block, BEN, ANN)
    talk.do(block, EVE, BEN)

    talk.say(ANN, group)
    talk.say(BEN, group)

    assert [(entry.to, entry.hid) for entry in talk.entries[-2:]] == [
        ("7,9,12", "9"),
        ("7,9,12", "12"),
    ]


def test_the_desk_is_asked_and_answers(talk: Talk) -> None:
    desk = talk.do(start_desk, ANN).conversation_id

    assert talk.say(ANN, desk, "my orders").seq == 1
    assert talk.say(DESK_ID, desk, "You have none.").seq == 2


def test_a_transaction_that_fails_stores_nothing_and_tells_nothing(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    send = Send(sender_id=ANN, cid="c", conversation_id=conversation, body="hello")

    def die(conn: Connection) -> None:
        assert isinstance(send_many(conn, [send])[0], Sent)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talk.do(die)

    assert talk.told == []
    assert claim(talk.engine, limit=10) == []
    assert talk.say(ANN, conversation, "hello", cid="c").seq == 1


def test_a_full_batch_costs_as_many_statements_as_one_message(talk: Talk) -> None:
    conversations = [talk.direct(ANN, other) for other in range(100, 140)]
    costs = []
    for number in (1, 10, MOST_SENDS):
        sends = [
            Send(
                sender_id=ANN,
                cid=f"{number}.{n}",
                conversation_id=conversations[n % len(conversations)],
                body="hello",
            )
            for n in range(number)
        ]
        with counted_statements(talk.engine) as seen:
            talk.do(send_many, sends)
        costs.append(len(seen))

    assert len(set(costs)) == 1, costs
    with talk.engine.connect() as conn:
        rows = conn.execute(
            select(message.c.conversation_id, message.c.seq).order_by(
                message.c.conversation_id, message.c.seq
            )
        ).all()
    assert len(rows) == 1 + 10 + MOST_SENDS
    for before, row in pairwise(rows):
        assert row.seq == (before.seq + 1 if row[0] == before[0] else 1)


def test_more_than_a_batch_is_a_mistake_of_the_caller(talk: Talk) -> None:
    send = Send(sender_id=ANN, cid="c", conversation_id=1, body="hello")

    with pytest.raises(ValueError, match="up to 100 messages, got 101"):
        talk.do(send_many, [send] * (MOST_SENDS + 1))
