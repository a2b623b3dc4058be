"""Rows of a file of events: what readers did elsewhere or earlier, as `tidings import events` and
`tidings evaluate` read it.

CSV with a header: `ts,user_id,article_id[,event,session_id,device,referrer]`, columns in any order;
others are ignored. Lines end with LF, CRLF or CR. `ts` is Unix time in seconds, or in milliseconds
from 10^11 on: as seconds that is the year 5138. Rows come as columns of a block of lines, since a
log has millions: a block whose lines are all plain is converted as a whole, any other line by line,
so that a bad row costs its line only. Rejected: the strict reader of articles, a dictionary a row,
at nine times the time.

    for block in read_events(stream, until_ms=now_ms()):
        print(len(block.at_ms), "events,", len(block.rejects), "refused")
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tidings.importing.rows import Place, Reject
from tidings.reading.acts import Action
from tidings.reading.contexts import Device, Referrer

DEVICES = ("", *(device.name.lower() for device in Device if device))
REFERRERS = ("", *(referrer.name.lower() for referrer in Referrer if referrer))
CODES = 16
REQUIRED = ("ts", "user_id", "article_id")
OPTIONAL = ("event", "session_id", "device", "referrer")
MS_FROM = 10**11
LAST_MS = 253_402_300_799_999
BLOCK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
NO_SESSION = -1
_DELIMITERS = ",;\t"
# Python reads "1_0", "+10" and "-0" as numbers, and csv a quote as none of the cell's letters.
_NOT_PLAIN = (b'"', b"_", b"-", b"+")
_NUMBER = re.compile(r"\d{1,19}")
_ACTIONS = {name: action for action in Action for name in (action.label, action.json_name)}
DEVICES = ("", *(device.name.lower() for device in Device if device))
REFERRERS = ("", *(referrer.name.lower() for referrer in Referrer if referrer))
CODES = 16


_Column = Sequence[str] | NDArray[np.int64]


class EventsHeaderError(ValueError):
    """The first line lacks a column that events need, or names one twice."""


class _CellError(ValueError):
    """One cell of a row cannot be what its column says."""


@dataclass(frozen=True, slots=True)
class EventBlock:
    """The events of some lines that follow each other, as columns of equal length.

    Attributes:
        lines: number of the line of each event, from 1, int64.
        at_ms: when it happened, ms since the epoch, int64.
        readers: int64.
        articles: int64.
        actions: numbers of `Action`, uint8.
        sessions: as the file numbers them, `NO_SESSION` where it does not, int64.
        devices: codes from 0, unknown, to 15, uint8.
        referrers: codes from 0, unknown, to 15, uint8.
        rejects: the lines that are no events.
        last_line: number of the block's last line.
    """

    lines: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    readers: NDArray[np.int64]
    articles: NDArray[np.int64]
    actions: NDArray[np.uint8]
    sessions: NDArray[np.int64]
    devices: NDArray[np.uint8]
    referrers: NDArray[np.uint8]
    rejects: Sequence[Reject]
    last_line: int


def read_events(stream: BinaryIO, *, until_ms: int) -> Iterator[EventBlock]:
    """Every line under the header, in blocks of about a MiB; what happened after `until_ms` is
    refused.

    Raises:
        EventsHeaderError: the first line is no header.
    """
    lines = _numbered_lines(stream)
    first = next(lines, (1, []))[1]
    header = first[0].decode("utf-8", "replace") if first else ""
    delimiter, columns = _read_header(header)
    reader = _Reader(delimiter, columns, until_ms)
    for number, block in lines:
        yield reader.read(number, block)


def context_code(name: str, known: Sequence[str]) -> int:
    """A name's place among the known ones; a code of digits below 16 is itself; any other name has
    a place behind the known ones that is the same in every run, so that contexts of a foreign log
    still tell apart."""
    name = name.strip().lower()
    if name in known:
        return known.index(name)
    if name.isdecimal() and int(name) < CODES:
        return int(name)
    return len(known) + zlib.crc32(name.encode("utf-8", "replace")) % (CODES - len(known))


def _numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, list[bytes]]]:
    """Blocks of whole lines with the number of their first one; the header is a block of its own.

    A line longer than `MAX_LINE_BYTES` is cut there, and refused by what reads it. Where the first
    block has no line feed, lines end as on old Macs, with a carriage return.
    """
    number, rest, is_long, end = 1, b"", False, b""
    while chunk := stream.read(BLOCK_BYTES):
        end = end or (b"\r" if b"\r" in chunk and b"\n" not in chunk else b"\n")
        *whole, rest = (rest + chunk).split(end)
        if whole and is_long:
            whole[0], is_long = whole[0][: MAX_LINE_BYTES + 1], False
        if len(rest) > MAX_LINE_BYTES:
            rest, is_long = rest[: MAX_LINE_BYTES + 1], True
        if whole and number == 1:
            yield 1, [whole.pop(0).removeprefix(b"\xef\xbb\xbf")]
            number = 2
        if whole:
            yield number, whole
            number += len(whole)
    if rest:
        yield number, [rest]


def _read_header(header: str) -> tuple[str, dict[str, int]]:
    if "\r" in header.rstrip("\r"):
        raise EventsHeaderError("the first line ends with a carriage return, and others do not")
    for delimiter in _DELIMITERS:
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if any(name in names for name in REQUIRED):
            break
    for name in REQUIRED:
        if name not in names:
            raise EventsHeaderError(
                f"the first line has no column called {name}: {header.strip()[:100]!r}"
            )
    for name in (*REQUIRED, *OPTIONAL):
        if names.count(name) > 1:
            raise EventsHeaderError(f"the column {name} appears twice")
    places = {name: names.index(name) for name in (*REQUIRED, *OPTIONAL) if name in names}
    return delimiter, places | {"": len(names)}


class _Reader:
    """Makes blocks of events of blocks of lines."""

    def __init__(self, delimiter: str, places: Mapping[str, int], until_ms: int) -> None:
        self._delimiter = delimiter
        self._places = {name: place for name, place in places.items() if name}
        self._width = places[""]
        self._until_ms = min(until_ms, LAST_MS)

    def read(self, number: int, lines: Sequence[bytes]) -> EventBlock:
        try:
            return self._read_plain(number, lines)
        except (ValueError, OverflowError):  # some line is not plain: its own reason is told below
            return self._read_each(number, lines)

    def _read_plain(self, number: int, lines: Sequence[bytes]) -> EventBlock:
        """A block without quotes and faults.

        Raises:
            ValueError: it has some.
        """
        text = b"\n".join(lines)
        numbers = np.arange(number, number + len(lines), dtype=np.int64)
        last_line = number + len(lines) - 1
        if not text.translate(None, b"0123456789\n" + self._delimiter.encode()):
            table = self._read_digits(text, len(lines))
            columns = {name: table[:, place] for name, place in self._places.items()}
            return self._make_block(numbers, columns, last_line=last_line, rejects=[])
        if not text.isascii() or any(mark in text for mark in _NOT_PLAIN):
            raise ValueError
        rows = [line.rstrip("\r").split(self._delimiter) for line in text.decode().split("\n")]
        cells = list(zip(*rows, strict=True))
        if len(cells) != self._width:
            raise ValueError
        named = {name: cells[place] for name, place in self._places.items()}
        return self._make_block(numbers, named, last_line=last_line, rejects=[])

    def _read_digits(self, text: bytes, n: int) -> NDArray[np.int64]:
        """A text of digits only as (lines, columns); five times faster than cell by cell."""
        letters = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero((letters == ord("\n")) | (letters == ord(self._delimiter)))
        lengths = np.diff(ends, prepend=-1, append=len(letters)) - 1
        if (
            len(ends) != n * self._width - 1
            or (letters[ends[self._width - 1 :: self._width]] != ord("\n")).any()
            or lengths.min() < 1
            or lengths.max() > 18
        ):
            raise ValueError
        joined = text.replace(b"\n", self._delimiter.encode()).decode()
        return np.fromstring(joined, np.int64, sep=self._delimiter).reshape(n, self._width)

    def _read_each(self, number: int, lines: Sequence[bytes]) -> EventBlock:
        rejects: list[Reject] = []
        numbers: list[int] = []
        kept: dict[str, list[str]] = {name: [] for name in self._places}
        for at, line in enumerate(lines, start=number):
            text = line[:MAX_LINE_BYTES].decode("utf-8", "backslashreplace").rstrip("\r")
            if not text.strip():
                continue
            try:
                cells = self._cells(text, is_cut=len(line) > MAX_LINE_BYTES)
                self._check(cells)
            except _CellError as ex:
                rejects.append(Reject(Place(line=at), str(ex), text[:1000]))
                continue
            numbers.append(at)
            for name, cell in cells.items():
                kept[name].append(cell)
        return self._make_block(
            np.array(numbers, np.int64), kept, last_line=number + len(lines) - 1, rejects=rejects
        )

    def _cells(self, text: str, *, is_cut: bool) -> dict[str, str]:
        if is_cut:
            raise _CellError(f"the line is longer than {MAX_LINE_BYTES} bytes")
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error as ex:
            raise _CellError(str(ex)) from None
        if len(cells) != self._width:
            raise _CellError(f"{len(cells)} cells where the header has {self._width}")
        return {name: cells[place].strip() for name, place in self._places.items()}

    def _check(self, cells: Mapping[str, str]) -> None:
        for name in (*REQUIRED, "session_id"):
            cell = cells.get(name, "0")
            if name == "session_id" and not cell:
                continue
            if not _NUMBER.fullmatch(cell) or not cell.isascii() or int(cell) >= 2**63:
                raise _CellError(f"{name} is {cell[:40]!r}, and not a whole number from 0 on")
        if not int(cells["article_id"]):
            raise _CellError("article_id is 0")
        at_ms = int(cells["ts"])
        at_ms *= 1 if at_ms >= MS_FROM else 1000
        if not 0 < at_ms <= self._until_ms:
            raise _CellError(f"ts {cells['ts']} is in the future" if at_ms else "ts is 0")
        if cells.get("event", "") not in ("", *_ACTIONS):
            raise _CellError(f"event is {cells['event'][:40]!r}, and none of {', '.join(_ACTIONS)}")

    def _make_block(
        self,
        numbers: NDArray[np.int64],
        cells: Mapping[str, _Column],
        *,
        last_line: int,
        rejects: Sequence[Reject],
    ) -> EventBlock:
        """Columns of cells as columns of numbers.

        Raises:
            ValueError: some cell is not what its column says.
        """
        n = len(numbers)
        at = _whole_numbers(cells["ts"])
        at_ms = np.where(at < MS_FROM, at * 1000, at)
        readers, articles = (_whole_numbers(cells[name]) for name in ("user_id", "article_id"))
        if n and (
            at_ms.min() <= 0
            or at_ms.max() > self._until_ms
            or readers.min() < 0
            or articles.min() <= 0
        ):
            raise ValueError
        sessions = np.full(n, NO_SESSION, np.int64)
        if "session_id" in cells:
            sessions = _whole_numbers(cells["session_id"])
        return EventBlock(
            lines=numbers,
            at_ms=at_ms,
            readers=readers,
            articles=articles,
            actions=self._coded("event", cells, n),
            sessions=sessions,
            devices=self._coded("device", cells, n),
            referrers=self._coded("referrer", cells, n),
            rejects=rejects,
            last_line=last_line,
        )

    def _coded(self, column: str, cells: Mapping[str, _Column], n: int) -> NDArray[np.uint8]:
        names = cells.get(column)
        if names is None:
            return np.full(n, self._code(column, ""), np.uint8)
        if isinstance(names, np.ndarray):
            if column == "event" or names.max(initial=0) >= CODES:
                raise ValueError
            return names.astype(np.uint8)
        codes = {name: self._code(column, name) for name in set(names)}
        return np.fromiter((codes[name] for name in names), np.uint8, n)

    def _code(self, column: str, name: str) -> int:
        if column == "event":
            if name and name not in _ACTIONS:
                raise ValueError
            return _ACTIONS.get(name, Action.CLICK)
        return context_code(name, DEVICES if column == "device" else REFERRERS)


def _whole_numbers(cells: _Column) -> NDArray[np.int64]:
    if isinstance(cells, np.ndarray):
        return cells
    return np.fromiter((int(cell or NO_SESSION) for cell in cells), np.int64, len(cells))
