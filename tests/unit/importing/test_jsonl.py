"""JSON Lines: one bad line costs one row."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tidings.importing.jsonl import read_jsonl
from tidings.importing.lines import MAX_BYTES
from tidings.importing.rows import Place, Reject, Row


def read(data: bytes) -> list[Any]:
    return list(read_jsonl(io.BytesIO(data)))


def test_lines_are_numbered_as_an_editor_does() -> None:
    """Blank lines count, a byte order mark and Windows line ends do not matter, nor does the last
    line's end."""
    assert read(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}') == [
        Row(Place(line=1), {"a": 1}),
        Row(Place(line=4), {"a": 2}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e400}', "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b'{"a": "\x00"}', "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xff\xfe{", "not JSON"),
        (b"[1]", "expected a JSON object"),
        (b"null", "expected a JSON object"),
    ],
)
def test_a_bad_line_is_one_reject_and_the_next_line_is_read(line: bytes, reason: str) -> None:
    """Including what Python's own json module lets pass: NaN, and halves of surrogate pairs."""
    reject, row = read(line + b'\n{"a": 2}\n')
    assert reject.place == Place(line=1)
    assert reject.reason.startswith(reason)
    assert row == Row(Place(line=2), {"a": 2})


def test_a_huge_line_is_one_reject_and_costs_no_memory() -> None:
    """Of a line longer than the bound only the beginning is kept, to recognise it by."""
    reject, row = read(b'{"a": "' + b"x" * (3 * MAX_BYTES) + b'"}\n{"a": 2}\n')
    assert isinstance(reject, Reject)
    assert reject.reason == f"the line is longer than {MAX_BYTES} bytes"
    assert reject.row == '{"a": "' + "x" * 993
    assert row == Row(Place(line=2), {"a": 2})


def test_rows_are_read_as_they_are_asked_for() -> None:
    """So that memory does not grow with the file."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            line = b'{"a": 1}\n' * (len(buffer) // 9)
            buffer[: len(line)] = line
            return len(line)

    rows = read_jsonl(io.BufferedReader(Endless()))
    assert [next(rows).place.line for _ in range(3)] == [1, 2, 3]
