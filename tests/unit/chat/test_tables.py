"""The table of close codes, the registry of sockets, and the metrics that operators are told of."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from services.chat.closing import Closing, Comeback
from services.chat.sessions import MOST_OF_READER, Sessions
from tests.unit.chat.listeners import Recorder

ROOT = Path(__file__).parent.parent.parent.parent


def test_each_code_stands_once_and_says_what_its_client_does() -> None:
    assert set(Counter(closing.code for closing in Closing).values()) == {1}
    assert all(closing.meaning and closing.comeback in Comeback for closing in Closing)
    # A close frame has room for 123 bytes of reason.
    assert all(len(closing.name) <= 123 for closing in Closing)


def test_the_sixth_of_a_reader_closes_the_oldest() -> None:
    sessions = Sessions()
    mine = [Recorder(7) for _ in range(MOST_OF_READER + 1)]
    other = Recorder(8)
    for listener in (other, *mine):
        sessions.add(listener)

    assert mine[0].closed == [Closing.REPLACED]
    assert list(sessions) == [other, *mine[1:]]
    assert len(sessions) == MOST_OF_READER + 1
    assert other.closed == []


def test_who_is_gone_is_found_no_more() -> None:
    sessions = Sessions()
    first, second = Recorder(7), Recorder(7)
    sessions.add(first)
    sessions.add(second)

    for _ in range(2):
        sessions.remove(first)
    assert (list(sessions), len(sessions)) == ([second], 1)
    sessions.remove(second)

    assert (list(sessions), len(sessions)) == ([], 0)
    assert vars(sessions) == {"_of_reader": {}, "_count": 0}


def test_operators_are_told_of_every_metric_of_a_node() -> None:
    sources = [path.read_text() for path in (ROOT / "services/chat").rglob("*.py")]
    made = {
        name
        for source in sources
        for name in re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(tidings_chat_\w+)"', source)
    }
    page = (ROOT / "docs/operations.md").read_text()
    told = set(re.findall(r"`(tidings_chat_\w+?)(?:_total)?`", page))

    assert len(made) > 20
    assert told == made
