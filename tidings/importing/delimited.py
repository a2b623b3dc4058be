"""Rows of a CSV file, with the line each begins on, however many line breaks its quotes hold.

Strict where the csv module is lenient: a stray quote or a missing cell is reported at its line
instead of shifting every column after it. A quote that is never closed swallows what follows it, so
the swallowed lines are read again on their own, and only the line at fault is lost.

    for row in read_csv(stream):
        row.values.get("title") if isinstance(row, Row) else row.reason
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from tidings.importing.lines import MAX_BYTES, Line, read_lines
from tidings.importing.rows import Place, Reject, Row

_DELIMITERS = ",;\t"
_UNCLOSED = "unexpected end of data"


class HeaderError(ValueError):
    """The first line names no column called title, or one column twice."""


def read_csv(stream: BinaryIO) -> Iterator[Row | Reject]:
    """Every record under the header, as a row or a reject. An empty cell is an absent field.

    Raises:
        HeaderError: the first line is no header.
    """
    # Process-wide, and 128 KiB by default, which a long article exceeds; MAX_BYTES is the bound
    # that counts.
    csv.field_size_limit(MAX_BYTES)
    lines = _Lines(read_lines(stream))
    delimiter, columns = _read_header(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as ex:
            reason = "a quote is opened here and never closed" if _UNCLOSED in str(ex) else str(ex)
            yield Reject(lines.place, reason, lines.first.show())
            lines.give_back()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        if not cells:
            continue
        if len(cells) != len(columns):
            yield Reject(
                lines.place, f"{len(cells)} cells where the header has {len(columns)}", cells
            )
            continue
        yield Row(
            lines.place,
            {column: cell for column, cell in zip(columns, cells, strict=True) if cell and column},
        )


def read_columns(header: str) -> tuple[str, list[str]] | None:
    """The delimiter and the columns, if a line is a header: one that has a column called title."""
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            continue
        columns = [name.strip().lower() for name in names]
        if "title" in columns:
            return delimiter, columns
    return None


class _Lines:
    """What csv reads from: it remembers the lines of the record under way, and can give them out
    again."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self._record: list[Line] = []
        self._bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._record.append(line)
        self._bytes += len(line.data)
        if line.is_cut or self._bytes > MAX_BYTES:
            raise csv.Error(f"the record is longer than {MAX_BYTES} bytes; is a quote not closed?")
        # What is not UTF-8 stays recognisable, so that the row is refused and not the file.
        return line.data.decode("utf-8", "surrogateescape")

    @property
    def first(self) -> Line:
        return self._record[0]

    @property
    def place(self) -> Place:
        return Place(line=self.first.number)

    def begin_record(self) -> None:
        self._record.clear()
        self._bytes = 0

    def give_back(self) -> None:
        """Every line of the record under way but its first will be read again."""
        self._again.extendleft(reversed(self._record[1:]))


def _read_header(lines: _Lines) -> tuple[str, list[str]]:
    try:
        header = next((line for line in lines if line.strip()), "")
    except csv.Error as ex:
        raise HeaderError(f"the first line is no header: {ex}") from None
    found = read_columns(header)
    if found is None:
        raise HeaderError(f"the first line has no column called title: {header.strip()[:100]!r}")
    named = [column for column in found[1] if column]
    for column in named:
        if named.count(column) > 1:
            raise HeaderError(f"the column {column} appears twice")
    return found
