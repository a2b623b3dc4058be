"""Lines of a stream with their numbers, none longer than a bound, so that a file without line ends
costs no memory.

    [line.number for line in read_lines(io.BytesIO(b"a\\nb"))]  # [1, 2]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_BYTES = 4 * 1024 * 1024
# Enough of a line that is too long to recognise it by.
KEPT_BYTES = 1000
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its end. Of one longer than `MAX_BYTES`, only the beginning: `is_cut`."""

    number: int
    data: bytes
    is_cut: bool = False

    def show(self) -> str:
        """The line as it can be written to a reject file, with any bytes in it."""
        return self.data.decode("utf-8", "backslashreplace").rstrip("\r\n")


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Every line, numbered from 1, without a byte order mark."""
    number = 0
    while data := stream.readline(MAX_BYTES + 1):
        number += 1
        if number == 1:
            data = data.removeprefix(_BOM)
        if len(data) <= MAX_BYTES:
            yield Line(number, data)
            continue
        kept = data[:KEPT_BYTES]
        while data and not data.endswith(b"\n"):
            data = stream.readline(MAX_BYTES)
        yield Line(number, kept, is_cut=True)
