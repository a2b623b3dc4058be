"""Who is in a conversation, who may change it, and who hears of the change."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from sqlalchemy import update

from tests.lab.talk import Talk, counted_statements
from tidings.store.engine import transaction
from tidings.talk.blocks import MOST_BLOCKS, block, find_blocks, unblock
from tidings.talk.conversations import (
    MOST_STARTED,
    STARTED_WITHIN,
    find_conversations,
    read_conversation,
    rename,
    start_desk,
    start_direct,
    start_group,
)
from tidings.talk.errors import (
    BlockedError,
    InvalidError,
    NotAMemberError,
    NotYoursError,
    QuotaError,
)
from tidings.talk.history import find_messages
from tidings.talk.joining import add_members, leave, remove_member
from tidings.talk.members import (
    DESK_ID,
    MOST_MEMBERS,
    find_members,
    find_sharing,
    share_conversation,
)
from tidings.talk.tables import conversation, reader_block

ANN, BEN, EVE, DAN = 7, 9, 12, 15


def told(talk: Talk) -> list[tuple[str, str, list[int]]]:
    """What was told of conversations: to whom, what, about whom."""
    frames = [(entry.to, msgspec.json.decode(entry.frame)) for entry in talk.entries]
    return [
        (to, said["change"], said.get("reader_ids", []))
        for to, said in frames
        if said["type"] == "conversation"
    ]


def roles(talk: Talk, reader: int, group: int) -> dict[int, str]:
    return {member.reader_id: member.role for member in talk.ask(find_members, reader, group)}


def test_two_readers_have_one_conversation_whoever_starts_it(talk: Talk) -> None:
    assert talk.direct(ANN, BEN) == talk.direct(BEN, ANN) == talk.direct(ANN, BEN)
    assert talk.direct(ANN, EVE) != talk.direct(ANN, BEN)


def test_a_conversation_is_listed_once_something_was_written(talk: Talk) -> None:
    """So that starting one disturbs no other reader."""
    conversation_id = talk.direct(ANN, BEN)
    assert talk.ask(find_conversations, BEN) == talk.ask(find_conversations, ANN) == []

    talk.say(ANN, conversation_id)

    (shown,) = talk.ask(find_conversations, BEN)
    assert (shown.other_id, shown.members, shown.kind) == (ANN, 2, "direct")


def test_lists_go_page_by_page_from_the_newest(talk: Talk) -> None:
    ids = [talk.direct(ANN, other) for other in range(20, 27)]
    for conversation_id in ids:
        talk.say(ANN, conversation_id)
    talk.say(ANN, ids[0])

    seen: list[int] = []
    before = None
    while page := talk.ask(find_conversations, ANN, before=before, limit=3):
        seen += [shown.conversation_id for shown in page]
        before = (page[-1].changed_at, page[-1].conversation_id)

    assert seen == [ids[0], *reversed(ids[1:])]


@pytest.mark.parametrize("other", [ANN, DESK_ID, 0, -3, 2**63])
def test_there_is_no_conversation_with_oneself_or_an_id_of_no_reader(
    talk: Talk, other: int
) -> None:
    with pytest.raises(InvalidError):
        talk.do(start_direct, ANN, other)
    with pytest.raises(InvalidError):
        talk.do(start_group, EVE, title="t", member_ids=[2**64, -1])


@pytest.mark.parametrize(("blocker", "blocked"), [(ANN, BEN), (BEN, ANN)])
def test_who_blocks_or_is_blocked_starts_nothing(talk: Talk, blocker: int, blocked: int) -> None:
    talk.do(block, blocker, blocked)

    with pytest.raises(BlockedError):
        talk.do(start_direct, ANN, BEN)
    with pytest.raises(BlockedError):
        talk.do(start_group, ANN, title="Friday", member_ids=[BEN])
    talk.do(unblock, blocker, blocked)
    talk.do(start_direct, ANN, BEN)


def test_a_reader_starts_so_many_conversations_a_day(talk: Talk) -> None:
    """A conversation that is there already is given all the same; the next day there are more."""
    first = talk.direct(ANN, 100)
    for other in range(101, 100 + MOST_STARTED):
        talk.direct(ANN, other)

    for start in (
        lambda: talk.direct(ANN, 99),
        lambda: talk.group(ANN),
        lambda: talk.do(start_desk, ANN),
    ):
        with pytest.raises(QuotaError):
            start()
    assert talk.direct(ANN, 100) == first
    assert talk.direct(BEN, 99)

    with transaction(talk.engine) as conn:
        made = conn.execute(conversation.select().where(conversation.c.id == first)).one()
        yesterday = made.created_at - STARTED_WITHIN
        conn.execute(
            update(conversation).where(conversation.c.id == first).values(created_at=yesterday)
        )
    assert talk.direct(ANN, 99)


def test_a_group_has_so_many_members(talk: Talk) -> None:
    full = talk.group(ANN, *range(1000, 1000 + MOST_MEMBERS - 1))

    with pytest.raises(InvalidError):
        talk.do(add_members, ANN, full, member_ids=[BEN])
    with pytest.raises(InvalidError):
        talk.group(ANN, *range(1000, 1000 + MOST_MEMBERS))
    assert talk.ask(read_conversation, ANN, full).members == MOST_MEMBERS
    assert len(talk.ask(find_members, ANN, full)) == MOST_MEMBERS
    said = talk.say(ANN, full)
    assert said.seq == 1


@pytest.mark.parametrize("title", ["", "   ", "t" * 101])
def test_a_title_has_one_to_a_hundred_characters(talk: Talk, title: str) -> None:
    group = talk.group(ANN, title=f"  {'新' * 100} ")
    assert talk.ask(read_conversation, ANN, group).title == "新" * 100

    with pytest.raises(InvalidError):
        talk.do(rename, ANN, group, title=title)
    with pytest.raises(InvalidError):
        talk.group(ANN, title=title)


def test_the_owner_alone_changes_a_group(talk: Talk) -> None:
    group, between = talk.group(ANN, BEN), talk.direct(ANN, BEN)

    changes: list[Callable[[int, int], None]] = [
        lambda who, where: talk.do(rename, who, where, title="Mine"),
        lambda who, where: talk.do(add_members, who, where, member_ids=[EVE]),
        lambda who, where: talk.do(remove_member, who, where, member_id=DAN),
    ]
    for change in changes:
        with pytest.raises(NotYoursError):
            change(BEN, group)
        with pytest.raises(NotAMemberError):
            change(EVE, group)
        with pytest.raises(InvalidError):
            change(ANN, between)
    with pytest.raises(NotAMemberError):
        talk.do(remove_member, ANN, group, member_id=DAN)


def test_all_members_hear_of_each_change_and_who_leaves_hears_that_alone(talk: Talk) -> None:
    group = talk.group(ANN, BEN)
    talk.do(rename, ANN, group, title="Saturday")
    talk.do(rename, ANN, group, title="Saturday")
    talk.do(add_members, ANN, group, member_ids=[BEN, EVE])
    talk.do(remove_member, ANN, group, member_id=BEN)
    talk.do(leave, ANN, group)
    talk.say(EVE, group)

    assert told(talk) == [
        ("7,9", "created", [ANN, BEN]),
        ("7,9", "renamed", []),
        ("7,9,12", "joined", [EVE]),
        ("7,12,9", "left", [BEN]),
        ("12,7", "left", [ANN]),
        ("12", "owner", [EVE]),
    ]
    assert talk.entries[-1].to == "12"


def test_a_reader_who_was_removed_sees_and_says_nothing_more(talk: Talk) -> None:
    group = talk.group(ANN, BEN)
    talk.say(ANN, group)
    talk.do(remove_member, ANN, group, member_id=BEN)

    for ask in (find_messages, find_members, read_conversation):
        with pytest.raises(NotAMemberError):
            talk.ask(ask, BEN, group, **({"limit": 5} if ask is find_messages else {}))
    assert talk.ask(find_conversations, BEN) == []
    assert not talk.ask(share_conversation, ANN, BEN)


def test_a_reader_who_comes_back_does_not_see_what_was_written_meanwhile(talk: Talk) -> None:
    group = talk.group(ANN, BEN)
    talk.say(ANN, group, "before")
    talk.do(leave, BEN, group)
    talk.say(ANN, group, "meanwhile")
    talk.do(add_members, ANN, group, member_ids=[BEN])
    talk.say(ANN, group, "after")

    assert [said.body for said in talk.ask(find_messages, BEN, group, limit=9)] == ["after"]


def test_the_oldest_member_owns_a_group_that_its_owner_left(talk: Talk) -> None:
    group = talk.group(ANN, EVE)
    talk.do(add_members, ANN, group, member_ids=[BEN])
    talk.do(leave, ANN, group)
    assert roles(talk, BEN, group) == {EVE: "owner", BEN: "member"}

    talk.do(leave, EVE, group)
    assert roles(talk, BEN, group) == {BEN: "owner"}


def test_presence_is_for_who_shares_a_conversation_and_blocks_nobody_of_it(talk: Talk) -> None:
    talk.group(ANN, BEN)
    assert talk.ask(share_conversation, BEN, ANN)
    assert not talk.ask(share_conversation, BEN, EVE)

    talk.do(block, ANN, BEN)
    assert not talk.ask(share_conversation, BEN, ANN)


def test_of_many_pairs_it_is_told_at_once_who_may_see_whom(talk: Talk) -> None:
    talk.group(ANN, BEN, EVE)
    talk.direct(ANN, DAN)
    talk.direct(ANN, BEN)
    talk.do(block, BEN, EVE)
    readers = (ANN, BEN, EVE, DAN)
    pairs = {(one, other) for one in readers for other in readers if one != other} - {(EVE, ANN)}
    with counted_statements(talk.engine) as asked:
        sharing = talk.ask(find_sharing, pairs)

    assert sharing == {(ANN, BEN), (BEN, ANN), (ANN, EVE), (ANN, DAN), (DAN, ANN)}
    assert len([statement for statement in asked if "conversation_member" in statement]) == 1


def test_blocks_are_listed_page_by_page_and_bounded(talk: Talk) -> None:
    talk.do(block, ANN, BEN)
    talk.do(block, ANN, BEN)
    assert [one.reader_id for one in talk.ask(find_blocks, ANN)] == [BEN]
    with pytest.raises(InvalidError):
        talk.do(block, ANN, ANN)

    with transaction(talk.engine) as conn:
        at = talk.ask(find_blocks, ANN)[0].at
        conn.execute(
            reader_block.insert(),
            [
                {"reader_id": ANN, "blocked_id": id_, "at": at}
                for id_ in range(100, 99 + MOST_BLOCKS)
            ],
        )
    with pytest.raises(QuotaError):
        talk.do(block, ANN, EVE)
    page = talk.ask(find_blocks, ANN, after_id=BEN, limit=2)
    assert [one.reader_id for one in page] == [100, 101]
