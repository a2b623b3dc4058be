"""The table of close codes, and the registry of sockets."""

from __future__ import annotations

from collections import Counter

from services.chat.closing import Closing, Comeback
from services.chat.sessions import MOST_OF_READER, Sessions
from tidings.readers.keys import Role


class Listener:
    role: Role | None = None
    key_id: int | None = None
    is_open = True

    def __init__(self, reader_id: int) -> None:
        self.reader_id = reader_id
        self.closed: list[Closing] = []

    def push(self, framed: bytes) -> None: ...

    def close(self, closing: Closing, retry_after_ms: int | None = None) -> None:
        del retry_after_ms
        self.closed.append(closing)


def test_each_code_stands_once_and_says_what_its_client_does() -> None:
    assert set(Counter(closing.code for closing in Closing).values()) == {1}
    assert all(closing.meaning and closing.comeback in Comeback for closing in Closing)
    # A close frame has room for 123 bytes of reason.
    assert all(len(closing.name) <= 123 for closing in Closing)


def test_the_sixth_of_a_reader_closes_the_oldest() -> None:
    sessions = Sessions()
    mine = [Listener(7) for _ in range(MOST_OF_READER + 1)]
    other = Listener(8)
    for listener in (other, *mine):
        sessions.add(listener)

    assert mine[0].closed == [Closing.REPLACED]
    assert list(sessions.of(7)) == mine[1:]
    assert len(sessions) == MOST_OF_READER + 1
    assert other.closed == []


def test_who_is_gone_is_found_no_more() -> None:
    sessions = Sessions()
    first, second = Listener(7), Listener(7)
    sessions.add(first)
    sessions.add(second)

    for _ in range(2):
        sessions.remove(first)
    assert (list(sessions.of(7)), list(sessions), len(sessions)) == ([second], [second], 1)
    sessions.remove(second)

    assert (list(sessions.of(7)), list(sessions.readers()), len(sessions)) == ([], [], 0)
