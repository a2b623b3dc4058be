"""What the hub tells, to whom, and what it keeps for those who come back."""

from __future__ import annotations

from collections.abc import Iterable
from unittest import mock

import pytest

from services.chat import hub as hub_module
from services.chat.audience import Audience
from services.chat.hub import BusAwayError, BusEntry, Hub
from services.chat.positions import Position, read_position
from services.chat.window import Window
from tests.unit.chat.listeners import Recorder
from tidings.talk.events import Deleted, Entry, Message

EPOCH = "0123abcd"
START = Position(EPOCH, (1, 0))


def entry(number: int, to: Iterable[int | str], *, live: bool = False) -> BusEntry:
    made = Entry.of(Deleted(conversation_id=1, seq=number, at=0), to=to)
    return BusEntry((2, number), b"%d.0" % number, Entry(made.frame, made.to, live=live))


@pytest.fixture
def hub() -> Hub:
    hub = Hub(Window(most=100, most_bytes=1 << 20), pause=lambda: None)
    hub.restart(START, [], "start")
    return hub


def join(hub: Hub, reader_id: int, *topics: str, pos: str | None = None) -> Recorder:
    listener = Recorder(reader_id)
    hub.join(listener, hub.begin(reader_id, topics, pos))
    return listener


def test_each_is_told_what_is_for_it_once_and_in_order(hub: Hub) -> None:
    seven, again, nine = join(hub, 7, "article:1"), join(hub, 7), join(hub, 9)
    hub.deliver([entry(1, [7]), entry(2, [9]), entry(3, ["article:1"]), entry(4, [7, "article:1"])])

    assert seven.seqs() == [1, 3, 4]
    assert again.seqs() == [1, 4]
    assert nine.seqs() == [2]
    assert [said["pos"] for said in nine.told] == [f"{EPOCH}.2-2"]


def test_what_left_is_told_nothing_and_may_leave_twice(hub: Hub) -> None:
    seven = join(hub, 7, "article:1")
    for _ in range(2):
        hub.leave(seven)
    hub.leave(Recorder(9))
    hub.deliver([entry(1, [7, "article:1"])])

    assert seven.told == []
    assert not hub.is_here(7)


def test_a_topic_is_told_from_subscribing_until_unsubscribing(hub: Hub) -> None:
    seven = join(hub, 7)
    for step in (hub.subscribe, hub.subscribe, hub.unsubscribe, hub.unsubscribe):
        step(seven, "article:1")
        hub.deliver([entry(len(seven.told) + 1, ["article:1"])])

    assert seven.seqs() == [1, 2]
    assert hub.count_topics(seven) == 0


def test_a_topic_means_nothing_to_a_connection_that_is_gone(hub: Hub) -> None:
    """A subscription waits for the database, and the socket may end meanwhile."""
    gone = join(hub, 7)
    hub.leave(gone)
    hub.subscribe(gone, "article:1")
    hub.deliver([entry(1, ["article:1"])])

    assert gone.told == []
    assert hub.followed("article:") == {}


def test_what_is_live_is_told_and_not_kept(hub: Hub) -> None:
    seven = join(hub, 7)
    hub.deliver([entry(1, [7]), entry(2, [7], live=True), entry(3, [7])])
    back = join(hub, 7, pos=START.text)

    assert seven.seqs() == [1, 2, 3]
    assert back.seqs() == [1, 3]


def test_what_came_over_the_bus_twice_is_told_once(hub: Hub) -> None:
    seven = join(hub, 7)
    hub.deliver([entry(1, [7]), entry(1, [7])._replace(id=(2, 5)), entry(6, [7])])

    assert seven.seqs() == [1, 6]


def test_one_row_number_with_other_words_is_another_event(hub: Hub) -> None:
    """A database that was restored gives numbers out again."""
    seven = join(hub, 7)
    hub.deliver([entry(1, [7]), entry(2, [7])._replace(stamp=b"1.0")])

    assert seven.seqs() == [1, 2]


def test_one_who_blocks_the_sender_has_the_frame_without_its_words(hub: Hub) -> None:
    said = Message(conversation_id=1, seq=1, sender_id=5, cid="c", body="words", at=0)
    seven, nine = join(hub, 7), join(hub, 9)
    hub.deliver([BusEntry((2, 1), b"", Entry.of(said, to=(7, 9), hid=(9,)))])
    back = join(hub, 9, pos=START.text)

    assert seven.told[0]["body"] == "words"
    assert nine.told == back.told
    assert nine.told[0]["hidden"] is True
    assert "body" not in nine.told[0]
    assert next(iter(nine.told[0])) == "pos"


@pytest.mark.parametrize(
    "damaged",
    [
        Entry(b"no JSON", "7", "7"),
        Entry(b"[]", "7", "7"),
        Entry(b'{"type":"deleted"}', "7", "seven"),
    ],
)
def test_an_entry_that_cannot_be_read_does_not_stop_those_behind_it(
    hub: Hub, damaged: Entry
) -> None:
    seven = join(hub, 7)
    hub.deliver([BusEntry((2, 1), b"", damaged), entry(2, [7])])

    assert seven.seqs() == [2]


def test_no_one_is_joined_before_the_bus_was_reached() -> None:
    hub = Hub(Window(most=1, most_bytes=1))

    with pytest.raises(BusAwayError):
        hub.begin(7, [], None)


def test_a_bus_that_begins_anew_has_all_load_anew(hub: Hub) -> None:
    seven = join(hub, 7)
    pos = f"{EPOCH}.2-1"
    hub.restart(Position("89ef0000", (9, 0)), [entry(8, [7])], "flushed")

    assert [(said["type"], said["reason"], said["pos"]) for said in seven.told] == [
        ("reset", "flushed", "89ef0000.9-0")
    ]
    assert not hub.begin(7, [], pos).is_recovered
    assert hub.begin(7, [], "89ef0000.2-8").is_recovered


def test_what_another_node_told_just_before_is_known_to_one_that_starts(hub: Hub) -> None:
    hub.restart(Position(EPOCH, (2, 9)), [entry(1, [7]), entry(2, [7]), entry(3, [9])], "start")

    assert join(hub, 7, pos=f"{EPOCH}.2-1").seqs() == [2]


def test_one_who_missed_more_than_a_socket_may_owe_loads_anew(hub: Hub) -> None:
    with mock.patch.object(hub_module, "MOST_REPLAYED", 200):
        hub.deliver([entry(1, [7])])
        few = hub.begin(7, [], START.text)
        hub.deliver([entry(2, [7]), entry(3, [7])])
        many = hub.begin(7, [], START.text)
        late = Recorder(7)
        hub.join(late, few)

    assert few.is_recovered
    assert not many.is_recovered
    assert [said["type"] for said in late.told] == ["reset"]


def test_a_fan_out_lets_others_run(hub: Hub) -> None:
    pauses: list[int] = []
    first = Recorder(0)
    hub = Hub(Window(most=9, most_bytes=999), pause=lambda: pauses.append(len(first.told)))
    hub.restart(START, [], "start")
    everyone = [first, *(Recorder(number) for number in range(1, 500))]
    for listener in everyone:
        hub.join(listener, hub.begin(listener.reader_id, ["article:1"], None))
    hub.deliver([entry(1, ["article:1"])])

    assert pauses == [1, 1]
    assert all(listener.seqs() == [1] for listener in everyone)


def test_a_window_is_bounded_by_number_and_by_bytes() -> None:
    for window, kept in (
        (Window(most=3, most_bytes=1 << 20), 3),
        (Window(most=9, most_bytes=1), 0),
    ):
        hub = Hub(window, pause=lambda: None)
        hub.restart(START, [], "start")
        hub.deliver([entry(number, [7]) for number in range(1, 8)])

        assert hub.begin(7, [], f"{EPOCH}.2-{7 - kept}").is_recovered
        assert not hub.begin(7, [], f"{EPOCH}.2-{6 - kept}").is_recovered


def test_a_window_of_long_entries_says_that_it_holds_fewer() -> None:
    long, short = Window(most=9, most_bytes=400), Window(most=9, most_bytes=1 << 20)
    for window in (long, short):
        hub = Hub(window, pause=lambda: None)
        hub.restart(START, [], "start")
        assert hub.capacity() == 9
        hub.deliver([entry(number, [7]) for number in range(1, 30)])

    assert 1 < long.capacity < 9
    assert short.capacity == 9


def test_an_audience_forgets_all_that_left() -> None:
    """Or a node that runs for months would grow with each reader."""
    audience = Audience()
    listeners = [Recorder(reader) for reader in (7, 7, 9)]
    for listener in listeners:
        audience.add(listener, ["article:1", "article:1"])
        audience.follow(listener, "article:2")
    for listener in listeners:
        audience.remove(listener)

    assert not len(audience)
    assert not audience.topics()
    assert not audience.has(7)
    assert vars(audience) == {"_of_reader": {}, "_on_topic": {}, "_topics": {}}


@pytest.mark.parametrize(
    "text",
    ["", "0123abcd", "0123abcd.1", "0123ABCD.1-0", "0123abcd.1-0 ", "0123abcd.-1-0", "٣.1-0"],
)
def test_what_is_no_place_is_none(text: str) -> None:
    assert read_position(text) is None


def test_a_place_is_read_as_it_was_told() -> None:
    assert read_position(START.text) == START
