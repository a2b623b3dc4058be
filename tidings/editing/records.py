"""Records as editors read them, and the digest by which a later write says what it had seen.

The digest is of all that is stored but the counters, which readers change all day, and the picture
that the job `covers` brings, with its moment: an editor who writes meanwhile has lost nothing. Of a
source it is what operators decide: what a look changes (its next hour, its failures) is no part of
it, or no version would last until it is written back.
Rejected: a number that each write counts up; a restored backup would give the same one to another
text.

    record = read_article(conn, actor, 42)
    digest(record)  # "6f0c…": what `If-Match` has to bring back
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from tidings.editing.acting import Actor, NotAllowedError, Seen, StaleRecordError
from tidings.news import listing
from tidings.news.channels import FOR_YOU, Channel
from tidings.news.listing import ListPage, ListPlace, Record
from tidings.news.storing import EDITOR_ORIGIN
from tidings.sources.owning import find_key_source
from tidings.sources.records import Source

_DIGEST_CHARS = 32
_DECIDED = ("kind", "name", "address", "title", "channel_id", "state", "every_s")
_NOT_DECIDED = ("counts", "image", "updated_at")


def digest(record: Record | Channel | Source) -> str:
    """Names this version of a record."""
    fields: Mapping[str, object]
    match record:
        case Record():
            fields = {name: v for name, v in record._asdict().items() if name not in _NOT_DECIDED}
        case Source():
            fields = read_decided(record)
        case Channel():
            fields = msgspec.structs.asdict(record)
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()[:_DIGEST_CHARS]


def read_decided(source: Source) -> dict[str, object]:
    """What operators decide about a source, by name."""
    return {name: getattr(source, name) for name in _DECIDED}


def check_seen(noun: str, noun_id: int, record: Record | Channel | Source, seen: Seen) -> None:
    """Raises:
    StaleRecordError: this version is none of those that were seen.
    """
    if seen is not None and digest(record) not in seen:
        raise StaleRecordError(noun, noun_id)


def read_article(conn: Connection, actor: Actor, article_id: int) -> Record:
    """All of one article, whether readers see it or not.

    Raises:
        ArticleNotFoundError: there is none of this id.
        NotAllowedError: it is another's, and the actor is no editor.
    """
    record = listing.read_record(conn, article_id)
    need_own(conn, actor, record)
    return record


def find_articles(
    conn: Connection,
    actor: Actor,
    *,
    limit: int,
    channel_id: int = FOR_YOU.channel_id,
    status: str | None = None,
    origin_id: int | None = None,
    by: str | None = None,
    text: str | None = None,
    after: ListPlace | None = None,
) -> ListPage:
    """The newest articles, of which an author is told only their own; the arguments are those of
    `tidings.news.listing.find_articles`."""
    if not actor.is_editor:
        own = find_own_origin(conn, actor)
        if own is None or origin_id not in (None, own):
            return ListPage([], None)
        origin_id = own
    return listing.find_articles(
        conn,
        limit=limit,
        channel_id=channel_id,
        status=status,
        origin_id=origin_id,
        by=by,
        text=text,
        after=after,
    )


def need_own(conn: Connection, actor: Actor, record: Record) -> None:
    """Raises:
    NotAllowedError: the article is another's, and the actor is no editor.
    """
    if not actor.is_editor and record.origin_id != find_own_origin(conn, actor):
        raise NotAllowedError(f"article {record.article_id} is another author's")


def find_own_origin(conn: Connection, actor: Actor) -> int | None:
    """The source of what an actor has created; None where that is nothing yet."""
    return EDITOR_ORIGIN if actor.key_id is None else find_key_source(conn, actor.key_id)
