"""Rows of a JSON Lines file: one object a line, so that one bad line costs one row and memory holds
one row.

    list(read_jsonl(io.BytesIO(b'{"title": "High tide"}')))  # one Row, of line 1
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from tidings.importing.lines import MAX_BYTES, read_lines
from tidings.importing.rows import Place, Reject, Row

_decode = msgspec.json.Decoder().decode


def read_jsonl(stream: BinaryIO) -> Iterator[Row | Reject]:
    """Every line that is not blank, as a row or a reject."""
    for line in read_lines(stream):
        place = Place(line=line.number)
        if line.is_cut:
            yield Reject(place, f"the line is longer than {MAX_BYTES} bytes", line.show())
            continue
        if not line.data.strip():
            continue
        try:
            values = _decode(line.data)
        except UnicodeDecodeError as ex:
            yield Reject(place, f"not UTF-8: {ex.reason}", line.show())
        except (msgspec.DecodeError, RecursionError) as ex:
            yield Reject(place, f"not JSON: {ex}", line.show())
        else:
            if isinstance(values, dict):
                yield Row(place, values)
            else:
                yield Reject(place, "expected a JSON object", line.show())
