"""Writes articles in batches, each batch one transaction, so that an import run twice or twice at
once is one import.

What exists is read, compared and updated only where it differs: `updated_at` moves for a change
that readers can see, and counts and take-downs are not the importer's to touch. A batch speaks for
one source and finds nothing but that source's articles: by what the source calls them, else by
their address, so that a source that numbers its articles anew keeps them. Rejected: the databases'
own upserts, which differ between SQLite and MySQL, burn an id for every row that exists, and cannot
say which rows they changed.

    write_articles(engine, [make_article(row)], now).created  # (1,)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine

from tidings.importing.rows import NewArticle
from tidings.news.authors import ensure_authors
from tidings.news.channels import ensure_channels
from tidings.news.storing import (
    FILE_ORIGIN,
    Content,
    Stored,
    add_articles,
    change_article,
    find_by_url,
    find_gone,
    find_stored,
    make_identity,
    read_database_clock,
)
from tidings.sources.registry import fix_channel, read_channel_id
from tidings.store.transacting import transact


@dataclass(frozen=True, slots=True)
class Origin:
    """The source whose word articles are.

    Attributes:
        source_id: its id.
        host: of a feed's address, for the articles that came from there before there were sources;
            None for what is no feed.
    """

    source_id: int = FILE_ORIGIN
    host: str | None = None

    def identify(self, article: NewArticle) -> str:
        """What identifies an article of this source."""
        if self.source_id == FILE_ORIGIN:
            return article.source_id
        moment = article.published_at.isoformat() if article.published_at else ""
        own = article.guid or article.url or f"{article.title}\t{moment}"
        return make_identity(self.source_id, own)


FILES = Origin()


def make_feed_origin(source_id: int, address: str) -> Origin:
    """The origin of what the feed at this address says."""
    return Origin(source_id, host=_host(address))


@dataclass(frozen=True, slots=True)
class Written:
    """The ids of the articles of one batch, by what happened to them, and how many were left out
    since an editor has deleted them."""

    created: tuple[int, ...]
    updated: tuple[int, ...]
    unchanged: tuple[int, ...]
    gone: int = 0


def _is_not_met(_article_id: int) -> bool:
    return False


def write_articles(
    engine: Engine,
    articles: Mapping[str, NewArticle],
    now: datetime,
    *,
    origin: Origin = FILES,
    is_met: Callable[[int], bool] = _is_not_met,
) -> Written:
    """Store a batch of articles in one transaction.

    A batch that meets another import at the same rows is written again from the start, a few times.

    Args:
        engine: the database.
        articles: identity → what to store.
        now: the publication of what is new and does not say when it was published.
        origin: the source whose word they are.
        is_met: true for an article that an earlier batch of the same document was about.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed, or was in the way every time.
    """
    return transact(engine, lambda conn: _write(conn, articles, now, origin, is_met))


def _write(
    conn: Connection,
    articles: Mapping[str, NewArticle],
    now: datetime,
    origin: Origin,
    is_met: Callable[[int], bool],
) -> Written:
    # The database's clock, which all writers share: a process that follows `updated_at` must not
    # miss these.
    updated_at = read_database_clock(conn)
    gone = find_gone(conn, articles.keys())
    articles = {identity: a for identity, a in articles.items() if identity not in gone}
    channels = _find_channels(conn, articles.values(), origin)
    authors = ensure_authors(conn, {a.author for a in articles.values() if a.author})
    stored = _find_stored(conn, articles, origin, is_met)
    new: list[Content] = []
    updated: list[int] = []
    unchanged: list[int] = []
    for identity, a in articles.items():
        content = Content(
            source_id=identity,
            origin_id=origin.source_id,
            channel_id=channels[a.channel_slug],
            author_id=authors[a.author] if a.author else None,
            title=a.title,
            summary=a.summary,
            body=a.body,
            cover=a.cover,
            url=a.url,
            language=a.language,
            published_at=a.published_at,
            revised_at=a.changed_at,
        )
        known = stored.get(identity)
        if known is None:
            new.append(content)
        elif change_article(conn, known, content, updated_at=updated_at):
            updated.append(known.article_id)
        else:
            unchanged.append(known.article_id)
    created = add_articles(conn, new, published_at=now, updated_at=updated_at)
    return Written(
        created=tuple(created[content.source_id] for content in new),
        updated=tuple(updated),
        unchanged=tuple(unchanged),
        gone=len(gone),
    )


def _find_channels(
    conn: Connection, articles: Collection[NewArticle], origin: Origin
) -> Mapping[str, int]:
    """Slug → id. A source that is asked has one channel, which its first articles open and which
    stays when the feed's title changes."""
    names = {a.channel_slug: a.channel_name for a in articles}
    if origin.host is None or not names:
        return ensure_channels(conn, names)
    channel_id = read_channel_id(conn, origin.source_id)
    if channel_id is None:
        slug, name = next(iter(names.items()))
        channel_id = ensure_channels(conn, {slug: name})[slug]
        fix_channel(conn, origin.source_id, channel_id)
    return dict.fromkeys(names, channel_id)


def _find_stored(
    conn: Connection,
    articles: Mapping[str, NewArticle],
    origin: Origin,
    is_met: Callable[[int], bool],
) -> dict[str, Stored]:
    """Identity → the article that this is, as far as there is one."""
    stored = find_stored(conn, list(articles))
    if origin.source_id == FILE_ORIGIN:
        return stored
    taken = {known.article_id for known in stored.values()}
    named = Counter(a.url for a in articles.values() if a.url)
    wanted = {
        a.url: identity
        for identity, a in articles.items()
        if a.url and identity not in stored and named[a.url] == 1
    }
    own = find_by_url(conn, origin.source_id, wanted)
    # A site that comes to be encrypted names its articles anew, guids and addresses together.
    twins = {_twin(url): url for url in wanted if url not in own and _twin(url) not in named}
    for twin, known in find_by_url(conn, origin.source_id, twins).items():
        own[twins[twin]] = known
    # What came from this feed before there were sources is a file's by the letter.
    former = {url for url in wanted if url not in own and _host(url) == origin.host}
    for url, known in (own | find_by_url(conn, FILE_ORIGIN, former)).items():
        if known.article_id not in taken and not is_met(known.article_id):
            stored[wanted[url]] = known
    return stored


def _twin(address: str) -> str:
    """The same address with the other scheme."""
    scheme, colon, rest = address.partition(":")
    return ("http" if scheme.lower() == "https" else "https") + colon + rest


def _host(address: str) -> str:
    """Host and port of an address, www. or not."""
    return urlsplit(address).netloc.lower().removeprefix("www.")
