"""What is said to a reader of why an article is there, by the source that brought it.

A source is named for how it works, a reason for what a reader knows of it; several sources may have
one reason. Rejected: the sources' names on the wire, which would be a promise to clients about how
feeds are made.

    reason_for("neighbours", 12)  # Reason(kind="read", article_id=12)
"""

from __future__ import annotations

from typing import NamedTuple

# The kinds stand in `idl/recommend.thrift`.
KINDS = {
    "hot": "popular",
    "neighbours": "read",
    "collaborative": "read",
    "taste": "taste",
    "text": "similar",
    "latest": "fresh",
    "untried": "fresh",
    "backlog": "backlog",
    "again": "again",
}
# Without the article that led there this says nothing to a reader but that others read it too.
_WITHOUT_ARTICLE = {"read": "popular"}


class Reason(NamedTuple):
    """Why an article is there: a kind of the IDL, and the read article that led there, or 0."""

    kind: str
    article_id: int


def reason_for(source: str, because: int = 0) -> Reason | None:
    """The reason of an article that this source brought; None for a source that gives none.

    Args:
        because: the article that led there, 0 if none did or it is no longer known.
    """
    kind = KINDS.get(source)
    if kind is None:
        return None
    return Reason(kind if because else _WITHOUT_ARTICLE.get(kind, kind), because)
