"""What articles say, as plain text: for programs that compare articles by their words.

Only the beginning of a body is read, since a body can be a megabyte and its first paragraphs say
what it is about. What another program stored as bytes is read as text, since one that is none would
hold up all that are read with it. Rejected: the whole body; of a thousand articles that is more
than a worker has memory for.

    read_texts(conn, [7])  # {7: "Ferry fares to rise\\n..."}
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Connection, Text, cast, func, select

from tidings.news.tables import article

# Of the body, with its tags.
BODY_CHARACTERS = 4_000
_TAG = re.compile(r"<[^>]*>?")


def read_texts(conn: Connection, article_ids: Sequence[int]) -> dict[int, str]:
    """Title, summary and the beginning of the body of each of these articles that exists."""
    mine = article.c
    beginning = func.substr(mine.body, 1, BODY_CHARACTERS)
    query = select(
        mine.id,
        cast(mine.title, Text).label("title"),
        cast(mine.summary, Text).label("summary"),
        cast(beginning, Text).label("body"),
    ).where(mine.id.in_(article_ids))
    return {
        row.id: f"{row.title}\n{row.summary}\n{_TAG.sub(' ', row.body)}"
        for row in conn.execute(query)
    }
