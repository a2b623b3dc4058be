"""What is counted of an article: the one list of its counters.

The columns of `article_count`, what is read with a card and what a card shows follow from these
fields. What a reader can do at all stands in `tidings/reading/acts.py`, which this room does not
know; a test holds the two against each other.

    COUNTED  # ("exposure", "click", "reading", "collect", "liking", "dislike")
    msgspec.json.encode(Counts(reading=3))  # b'{"exposure":0,"click":0,"read":3,...}'
"""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct, frozen=True):
    """How often readers did what with one article. JSON says `read` for `reading`."""

    exposure: int = 0
    click: int = 0
    reading: int = msgspec.field(default=0, name="read")
    collect: int = 0
    liking: int = 0
    dislike: int = 0


COUNTED = Counts.__struct_fields__
