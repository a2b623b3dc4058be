"""CSV as spreadsheets and people write it: the right line in every report, and no row lost to
another's mistake."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.delimited import HeaderError, read_csv
from tidings.importing.lines import MAX_BYTES
from tidings.importing.rows import Place, Reject, Row


def read(text: str | bytes) -> list[Any]:
    return list(read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def test_a_record_is_reported_at_the_line_it_begins_on() -> None:
    """Quotes may hold line breaks, doubled quotes and commas; blank lines count as lines."""
    assert read('title,body\r\n"a ""b""","x\r\ny, z"\r\n\r\nc,d\r\n') == [
        Row(Place(line=2), {"title": 'a "b"', "body": "x\r\ny, z"}),
        Row(Place(line=5), {"title": "c", "body": "d"}),
    ]


def test_spreadsheets_put_a_mark_first_and_like_semicolons() -> None:
    """A byte order mark, capitals in the header, semicolons or tabs."""
    expected = [Row(Place(line=2), {"title": "a", "body": "1,5"})]
    assert read("\ufeffTitle; BODY\na;1,5\n") == expected
    assert read("title\tbody\na\t1,5\n") == expected


def test_blank_lines_before_the_header_count_as_lines() -> None:
    assert read("\n \r\ntitle,body\na,b\n") == [Row(Place(line=4), {"title": "a", "body": "b"})]


def test_an_empty_cell_is_an_absent_field() -> None:
    """CSV has no other way to leave a field out. A column without a name is left alone."""
    assert read("title,body,,url\na,,x,\n") == [Row(Place(line=2), {"title": "a"})]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("a", "1 cells where the header has 2"),
        ("a,b,c", "3 cells where the header has 2"),
        ('"a" b,c', "',' expected after '\"'"),
        ('a,"b', "a quote is opened here and never closed"),
    ],
)
def test_a_bad_record_is_one_reject_and_the_others_are_read(record: str, reason: str) -> None:
    """Trap: an unclosed quote swallows the rest of the file, and a lenient reader says nothing."""
    first, bad, last = read(f"title,body\n1,one\n{record}\n2,two\n")
    assert first == Row(Place(line=2), {"title": "1", "body": "one"})
    assert isinstance(bad, Reject)
    assert (bad.place, bad.reason) == (Place(line=3), reason)
    assert last == Row(Place(line=4), {"title": "2", "body": "two"})


def test_an_unclosed_quote_stops_at_the_bound_and_loses_one_line() -> None:
    """Even in a file larger than any record may be."""
    lines = 20
    long = "x" * (MAX_BYTES // 10)
    read_rows = read('title,body\n"open,b\n' + f"a,{long}\n" * lines)
    assert [type(item) for item in read_rows] == [Reject] + [Row] * lines
    assert read_rows[0].place == Place(line=2)
    assert [item.place.line for item in read_rows] == list(range(2, lines + 3))


def test_many_unclosed_quotes_cost_no_more_than_their_lines() -> None:
    """Reading swallowed lines again must not become quadratic."""
    items = read("title,body\n" + '"a,b\n' * 20_001)
    assert {item.place.line for item in items if isinstance(item, Reject)} <= set(range(2, 20_003))
    assert len(items) > 10_000


def test_a_huge_cell_is_one_reject() -> None:
    """Trap: the csv module refuses 128 KiB by default, which an article may exceed."""
    large, huge, last = read(f"title,body\na,{'x' * 200_000}\nb,{'x' * (MAX_BYTES + 1)}\nc,d\n")
    assert len(large.values["body"]) == 200_000
    assert huge.place == Place(line=3)
    assert "longer than" in huge.reason
    assert last.values == {"title": "c", "body": "d"}


def test_what_is_not_utf8_stays_in_its_row() -> None:
    """The row is refused later, by the field; its neighbours are whole."""
    bad, good = read(b"title,body\ncaf\xe9,x\ncaf\xc3\xa9,y\n")
    assert bad.values["title"] == "caf\udce9"
    assert good.values["title"] == "café"


@pytest.mark.parametrize("header", ["", "headline,body", "title,body,Title", "x" * (MAX_BYTES + 2)])
def test_without_a_usable_header_nothing_can_be_read(header: str) -> None:
    """It is said once, not for every row."""
    with pytest.raises(HeaderError):
        read(header + "\na,b\n")


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8))
def test_what_is_written_as_csv_is_read_back(records: list[tuple[str, str]]) -> None:
    """With its quotes, commas and line breaks, each at its line."""
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerows([("title", "body"), *records])
    rows = read(written.getvalue())
    assert [(row.values["title"], row.values["body"]) for row in rows] == records
    line = 2
    for row, (title, body) in zip(rows, records, strict=True):
        assert row.place.line == line
        line += 1 + (title + body).count("\n")


@given(st.text(alphabet='",\n;ab\r\t\x00é', max_size=200))
def test_any_text_is_rows_and_rejects(text: str) -> None:
    """Any text after a header, in the order of its lines."""
    places = [item.place.line for item in read("title,body\n" + text)]
    assert places == sorted(set(places))
