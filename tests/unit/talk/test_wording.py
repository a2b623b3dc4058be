"""What notices say: each type in both languages, one and several, and something even where the data
are of another release."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest

from tidings.talk import wording
from tidings.talk.notices import NoticeType
from tidings.talk.wording import FOR_OPERATORS, FOR_READERS, say

# 18:05 UTC on 2026-11-28.
EXPIRES_AT = 1_795_889_100_000
DATA: dict[str, Any] = {
    "order_id": 42,
    "payment_id": 7,
    "amount_cents": 1205,
    "currency": "EUR",
    "expires_at": EXPIRES_AT,
    "why": "expired",
    "number": 12,
    "provider": "sandbox",
    "verdict": "mismatch",
    "event_id": "e1",
    "source": "https://example.org/feed",
    "error": "SourceError",
    "kind": "refund",
    "ref": "9",
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("type_", list(NoticeType))
def test_every_type_is_told_in_both_languages(type_: NoticeType, times: int) -> None:
    told = say(type_, DATA, times=times)

    assert told != say("of_a_later_release", {}, times=1)
    assert any("\u4e00" <= char <= "\u9fff" for char in told.zh)
    assert told.en.isascii()
    assert not set("{}") & set(told.zh + told.en)


def test_both_languages_say_the_same_things() -> None:
    """A number that stands in one text stands in the other."""

    def fields(text: str) -> set[str]:
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        return {name.removesuffix("_zh").removesuffix("_en") for name in names}

    for one, several in wording._TEXTS.values():
        for texts in filter(None, (one, several)):
            assert fields(texts.zh) == fields(texts.en)


def test_a_cancelled_order_says_for_what() -> None:
    def told(why: str) -> str:
        return say("order_cancelled", {"order_id": 42, "why": why}, times=1).en

    assert told("expired") == "Order 42 was cancelled: it was not paid in time."
    assert told("by_reader") == "Order 42 was cancelled: as you asked."
    assert told("of_a_later_release") == "Order 42 was cancelled: the reason is not known."


def test_money_and_hours_are_written_out() -> None:
    assert say("order_paid", DATA, times=1).en == "Order 42 is paid: 12.05 EUR."
    assert say("order_expiring", DATA, times=1).en == (
        "Order 42 is not paid yet, and is cancelled at 18:05 UTC."
    )


def test_several_of_one_kind_are_told_as_one_with_their_number() -> None:
    assert say("job_dead", DATA, times=1).en == "The delayed job refund:9 was given up."
    assert say("job_dead", DATA, times=31).en == (
        "31 delayed jobs of refund were given up, the latest: 9."
    )


@pytest.mark.parametrize("type_", ["of_a_later_release", *NoticeType])
@pytest.mark.parametrize("data", [{}, {"expires_at": "soon", "amount_cents": "much", "why": []}])
def test_what_cannot_be_read_still_says_that_there_is_something(
    type_: str, data: dict[str, Any]
) -> None:
    assert say(type_, data, times=1).en == "There is something new."


def test_data_with_braces_are_only_data() -> None:
    told = say("import_failed", {"source": "{times}", "error": "{0.__class__}"}, times=1)

    assert told.en == "The import from {times} failed: {0.__class__}."


def test_a_type_is_for_readers_or_for_operators() -> None:
    assert {*FOR_READERS} | FOR_OPERATORS == {*NoticeType}
    assert not {*FOR_READERS} & FOR_OPERATORS


def test_the_documentation_lists_every_type_with_its_data() -> None:
    page = (Path(__file__).parents[3] / "docs" / "chat.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", _section(page, "Notices"), re.MULTILINE)

    assert {type_ for type_, _ in rows} == {*NoticeType}
    for type_, cell in rows:
        names = re.findall(r"`(\w+)`", cell)
        data = {name: DATA[name] for name in names}
        assert say(type_, data, times=1) == say(type_, DATA, times=1)


def _section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
