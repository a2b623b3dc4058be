"""Messages as they are read, edited, deleted, reported and hidden."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import update

from tests.lab.talk import Talk
from tidings.store.engine import transaction
from tidings.talk.blocks import block
from tidings.talk.conversations import find_conversations
from tidings.talk.errors import (
    InvalidError,
    NoSuchMessageError,
    NotAMemberError,
    NotYoursError,
    QuotaError,
    TooLateError,
)
from tidings.talk.events import hide
from tidings.talk.history import EDITABLE, delete, edit, find_messages
from tidings.talk.joining import add_members
from tidings.talk.reports import MOST_REPORTS, close_report, delete_reported, find_reports, report
from tidings.talk.tables import message

ANN, BEN, EVE = 7, 9, 12


def set_back(talk: Talk, by: timedelta) -> None:
    """As if all messages had been sent earlier."""
    with transaction(talk.engine) as conn:
        for row in conn.execute(message.select()).all():
            one = (message.c.conversation_id == row.conversation_id, message.c.seq == row.seq)
            conn.execute(update(message).where(*one).values(at=row.at - by))


def test_history_is_read_from_both_ends(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    for n in range(1, 8):
        talk.say(ANN, conversation, f"text {n}")

    def seqs(**page: int) -> list[int]:
        return [said.seq for said in talk.ask(find_messages, BEN, conversation, **page)]

    assert seqs(limit=3) == [7, 6, 5]
    assert seqs(before=5, limit=3) == [4, 3, 2]
    assert seqs(before=2, limit=3) == [1]
    assert seqs(after=4, limit=2) == [5, 6]
    assert seqs(after=7, limit=2) == []


def test_a_message_is_edited_for_five_minutes(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation, "helo", cid="c")

    edited = talk.do(edit, ANN, conversation, seq=1, body="hello")

    (shown,) = talk.ask(find_messages, BEN, conversation, limit=5)
    assert (shown.body, shown.edited_at) == ("hello", edited.edited_at)
    frame = msgspec.json.decode(talk.entries[-1].frame)
    assert (frame["type"], frame["seq"], frame["body"]) == ("edited", 1, "hello")
    assert talk.say(ANN, conversation, "helo", cid="c").seq == 1  # the cid still names it

    set_back(talk, EDITABLE + timedelta(seconds=1))
    with pytest.raises(TooLateError):
        talk.do(edit, ANN, conversation, seq=1, body="goodbye")
    assert talk.do(edit, ANN, conversation, seq=1, body="hello").body == "hello"


def test_one_who_joined_after_a_message_is_not_told_its_new_text(talk: Talk) -> None:
    """Of history, a new member reads what was written since."""
    group = talk.group(ANN, BEN)
    talk.say(ANN, group, "between us", cid="c")
    talk.do(add_members, ANN, group, member_ids=[EVE])

    talk.do(edit, ANN, group, seq=1, body="between us two")
    edited = talk.entries[-1]
    talk.do(delete, ANN, group, seq=1)

    assert edited.to.split(",") == talk.entries[-1].to.split(",") == [str(ANN), str(BEN)]
    assert talk.ask(find_messages, EVE, group) == []


def test_only_its_sender_edits_and_deletes_a_message(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation)

    for who, seq, error in [
        (BEN, 1, NotYoursError),
        (EVE, 1, NotAMemberError),
        (ANN, 2, NoSuchMessageError),
        (ANN, 0, NoSuchMessageError),
    ]:
        with pytest.raises(error):
            talk.do(edit, who, conversation, seq=seq, body="mine")
        with pytest.raises(error):
            talk.do(delete, who, conversation, seq=seq)


def test_a_deleted_message_keeps_its_seq_and_nothing_of_its_text(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation, "secret")
    talk.say(ANN, conversation)

    first = talk.do(delete, ANN, conversation, seq=1)
    assert talk.do(delete, ANN, conversation, seq=1) == first

    shown = talk.ask(find_messages, BEN, conversation, limit=5)[-1]
    assert (shown.seq, shown.body, shown.deleted_at) == (1, None, first.at)
    with talk.engine.connect() as conn:
        assert "secret" not in {row.body for row in conn.execute(message.select())}
    assert b'"type":"deleted"' in talk.entries[-1].frame
    assert len(talk.entries) == 3
    with pytest.raises(NoSuchMessageError):
        talk.do(edit, ANN, conversation, seq=1, body="again")


def test_the_text_of_a_blocked_member_is_hidden_while_the_block_lasts(talk: Talk) -> None:
    group = talk.group(ANN, BEN, EVE)
    talk.say(BEN, group, "insult")
    talk.do(block, ANN, BEN)
    talk.do(edit, BEN, group, seq=1, body="worse")

    (shown,) = talk.ask(find_messages, ANN, group, limit=5)
    assert (shown.hidden, shown.body) == (True, None)
    (listed,) = talk.ask(find_conversations, ANN)
    assert listed.last is not None
    assert (listed.last.hidden, listed.last.body, listed.unread) == (True, None, 0)
    assert talk.ask(find_messages, EVE, group, limit=5)[0].body == "worse"
    assert talk.entries[-1].hid == "7"
    assert b"worse" not in hide(talk.entries[-1].frame)
    assert msgspec.json.decode(hide(talk.entries[-1].frame))["hidden"] is True


def test_a_cid_is_shown_to_its_sender_alone(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation, cid="c")

    assert [talk.ask(find_messages, who, conversation, limit=5)[0].cid for who in (ANN, BEN)] == [
        "c",
        None,
    ]


def test_a_report_keeps_what_its_sender_deletes(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation, "insult")
    talk.do(report, BEN, conversation, seq=1, reason=" rude ")
    talk.do(report, BEN, conversation, seq=1, reason="again")
    talk.do(delete, ANN, conversation, seq=1)

    (found,) = talk.ask(find_reports, limit=5)
    assert (found.body, found.reason, found.sender_id, found.reader_id) == (
        "insult",
        "rude",
        ANN,
        BEN,
    )
    talk.do(close_report, found.report_id)
    assert talk.ask(find_reports, limit=5) == []


def test_an_operator_takes_the_text_from_what_was_reported(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation, "insult")
    talk.do(report, BEN, conversation, seq=1, reason="")
    (found,) = talk.ask(find_reports, limit=5)

    talk.do(delete_reported, found.report_id)

    assert talk.ask(find_messages, BEN, conversation, limit=5)[0].body is None
    assert talk.entries[-1].to == "7,9"
    assert talk.ask(find_reports, limit=5) == []


def test_what_one_cannot_see_cannot_be_reported(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    talk.say(ANN, conversation)

    for who, seq, reason, error in [
        (EVE, 1, "", NotAMemberError),
        (BEN, 2, "", NoSuchMessageError),
        (ANN, 1, "", InvalidError),
        (BEN, 1, "r" * 501, InvalidError),
    ]:
        with pytest.raises(error):
            talk.do(report, who, conversation, seq=seq, reason=reason)


def test_a_reader_reports_so_many_messages_a_day(talk: Talk) -> None:
    conversation = talk.direct(ANN, BEN)
    for n in range(1, MOST_REPORTS + 2):
        talk.say(ANN, conversation)
        if n <= MOST_REPORTS:
            talk.do(report, BEN, conversation, seq=n, reason="")

    with pytest.raises(QuotaError):
        talk.do(report, BEN, conversation, seq=MOST_REPORTS + 1, reason="")
