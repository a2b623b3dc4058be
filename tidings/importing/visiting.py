"""One look at a source: ask its address, read what it answers, write it as the source's own word.

What is asked as a feed is read as a feed and as nothing else: an address that answers rows of a
file, or a list of other addresses, fails. Of a long feed the newest entries are taken. Rejected:
the path of files, with its checkpoint and its file of rejects; a feed is asked again in an hour,
and has no operator who could mend its rows.

    seen = visit(source, engine, folder=folder, rules=rules, most=1000)
    seen.outcome, seen.counts
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine

from tidings.importing.addresses import FetchRules
from tidings.importing.feeds import Feed, NotAFeedError, open_feed
from tidings.importing.fetching import NOT_MODIFIED, Fetched, FetchError, fetch
from tidings.importing.inputs import UNREADABLE, scratch_file, unpack
from tidings.importing.loading import Loader, OnChange, ignore
from tidings.importing.opml import MAX_FEED_BYTES, ListError, Outline, parse_opml
from tidings.importing.report import Counts, Report
from tidings.importing.rows import NewArticle, Reject, Row, RowError, make_article, make_slug
from tidings.importing.writing import make_feed_origin
from tidings.news.channels import ensure_channels
from tidings.news.storing import LENGTHS
from tidings.process.clock import Clock, now_ms
from tidings.sources.records import LIST, Source
from tidings.sources.registry import SourceError, follow_list, is_list, tidy_address
from tidings.store.transacting import transact

# For the whole download; the most of a look's lease remains for reading and writing.
DEADLINE_S = 60
GONE_STATUS = 410
SHOWN = 10
# More than any list that is read by people, and a day's work for the job that follows it.
MOST_LISTED = 1000
_UNDATED = datetime.max.replace(tzinfo=UTC)


class Outcome(StrEnum):
    """What came of a look."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    GONE = "gone"


@dataclass(slots=True, kw_only=True)
class Visit:
    """What came of a look at a source.

    Attributes:
        counts: its entries by what became of them; of a list, the feeds that came.
        reasons: why the first entries were refused, and what was left out.
        error: why it failed.
        title: what the feed calls itself.
        etag: to be sent next time.
        last_modified: to be sent next time.
        moved_to: where it says that it stands for good.
        retry_after_s: for how long it wants to be left alone.
        took_ms: all of it.
    """

    outcome: Outcome = Outcome.UNCHANGED
    counts: Counts = field(default_factory=Counts)
    reasons: tuple[str, ...] = ()
    error: str | None = None
    title: str = ""
    etag: str = ""
    last_modified: str = ""
    moved_to: str | None = None
    retry_after_s: int | None = None
    took_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What would come in from an address.

    Attributes:
        url: where it was found, after redirects.
        title: what the feed calls itself.
        entries: how many it has.
        refused: why the first of those that would not come in would not.
        articles: the first that would.
    """

    url: str
    title: str
    entries: int
    refused: tuple[str, ...]
    articles: tuple[NewArticle, ...]


class AnswerError(Exception):
    """The address answers, but not with what it is asked for."""


def visit(
    source: Source,
    engine: Engine,
    *,
    folder: Path,
    rules: FetchRules,
    most: int,
    clock: Clock = now_ms,
    on_change: OnChange = ignore,
) -> Visit:
    """Ask a source and write what is new. A source that fails is told, never raised.

    Args:
        source: of kind feed or list.
        engine: the database.
        folder: for the download.
        rules: which machines may be asked.
        most: how many entries of a feed are taken, the newest.
        clock: now in ms since the epoch.
        on_change: called after each commit with the ids of the articles that are new or changed.

    Raises:
        OSError: nothing can be written in `folder`.
        sqlalchemy.exc.DBAPIError: the database failed. What was committed stands.
    """
    started_s = time.monotonic()
    seen = Visit(etag=source.etag or "", last_modified=source.last_modified or "")
    with scratch_file(folder) as file:
        try:
            fetched = fetch(
                source.address or "",
                file,
                max_bytes=MAX_FEED_BYTES,
                deadline_s=DEADLINE_S,
                etag=seen.etag,
                last_modified=seen.last_modified,
                rules=rules,
            )
            seen.moved_to = _tidy(fetched.permanent_url)
            seen.retry_after_s = fetched.retry_after_s
            if fetched.status != NOT_MODIFIED:
                if source.kind == LIST:
                    _follow(source, _content(file), engine, seen)
                else:
                    load = Loader(engine, Report(seen.counts), clock=clock, on_change=on_change)
                    _load(load, source, _open(fetched, file), seen, most)
                # Only now: what could not be read whole is asked for whole again.
                seen.etag, seen.last_modified = fetched.etag, fetched.last_modified
            if seen.counts.created or seen.counts.updated:
                seen.outcome = Outcome.CHANGED
        except FetchError as ex:
            seen.outcome = Outcome.GONE if ex.status == GONE_STATUS else Outcome.FAILED
            seen.error, seen.retry_after_s = str(ex), ex.retry_after_s
        except (AnswerError, NotAFeedError, ListError) as ex:
            seen.outcome, seen.error = Outcome.FAILED, str(ex)
    seen.took_ms = int((time.monotonic() - started_s) * 1000)
    return seen


def check(
    address: str, *, folder: Path, rules: FetchRules, deadline_s: float = DEADLINE_S
) -> Checked:
    """What would come in from this address; nothing is stored.

    Args:
        address: http or https.
        folder: for the download.
        rules: which machines may be asked.
        deadline_s: for the whole download.

    Raises:
        FetchError: it cannot be fetched.
        AnswerError: it is no feed.
        OSError: nothing can be written in `folder`.
    """
    articles: list[NewArticle] = []
    refused: list[str] = []
    entries = 0
    with scratch_file(folder) as file:
        fetched = fetch(address, file, max_bytes=MAX_FEED_BYTES, deadline_s=deadline_s, rules=rules)
        try:
            feed = _open(fetched, file)
            for row in feed.rows():
                entries += 1
                judged = _judge(row)
                if isinstance(judged, str):
                    refused.append(judged)
                else:
                    articles.append(judged)
                del refused[SHOWN:], articles[SHOWN:]
        except NotAFeedError as ex:
            raise AnswerError(str(ex)) from None
    return Checked(
        url=fetched.url,
        title=feed.title,
        entries=entries,
        refused=tuple(refused),
        articles=tuple(articles),
    )


def _judge(row: Row | Reject) -> NewArticle | str:
    if isinstance(row, Reject):
        return f"{row.place}: {row.reason}"
    try:
        return make_article(row.values)
    except RowError as ex:
        return f"{row.place}: {ex}"


def list_channels(outlines: Iterable[Outline]) -> tuple[dict[str, str | None], list[str]]:
    """Address → the folder's name, for the feeds of a list that can be asked at all; and why the
    others cannot."""
    wanted: dict[str, str | None] = {}
    refused: list[str] = []
    for outline in outlines:
        try:
            address = tidy_address(outline.address)
        except SourceError as ex:
            refused.append(f"line {outline.line}: {ex}")
            continue
        if is_list(address):  # Or lists of lists would be followed without end.
            refused.append(f"line {outline.line}: {address[:100]} is a list itself")
        else:
            wanted.setdefault(address, outline.folder)
    return wanted, refused


def _content(file: BinaryIO) -> BinaryIO:
    try:
        return unpack(file, MAX_FEED_BYTES)
    except (*UNREADABLE, ValueError) as ex:
        raise AnswerError(str(ex) or type(ex).__name__) from None


def _open(fetched: Fetched, file: BinaryIO) -> Feed:
    return open_feed(_content(file), content_type=fetched.content_type, url=fetched.url)


def _load(load: Loader, source: Source, feed: Feed, seen: Visit, most: int) -> None:
    total = 0

    def numbered() -> Iterator[tuple[int, Row | Reject]]:
        nonlocal total
        for row in feed.rows():
            total += 1
            yield total, row

    # All that are kept are in memory, which the bound of the download bounds.
    newest = heapq.nlargest(most, numbered(), key=lambda pair: (_moment(pair[1]), -pair[0]))
    kept = [row for _, row in sorted(newest, key=lambda pair: pair[0])]
    seen.title = feed.title
    load.run(kept, origin=make_feed_origin(source.source_id, source.address or ""))
    reasons = [f"{reject.place}: {reject.reason}" for reject in load.report.first_rejects]
    if total > len(kept):
        reasons.append(f"{total} entries, of which the newest {len(kept)} were taken")
    seen.reasons = tuple(reason[:300] for reason in reasons)


def _moment(row: Row | Reject) -> datetime:
    """What is undated is new where it is seen first."""
    published = row.values.get("published") if isinstance(row, Row) else None
    return published if isinstance(published, datetime) else _UNDATED


def _follow(source: Source, stream: BinaryIO, engine: Engine, seen: Visit) -> None:
    wanted, refused = list_channels(parse_opml(stream))
    seen.reasons, seen.counts.rejected = tuple(refused[:SHOWN]), len(refused)
    if len(wanted) > MOST_LISTED:
        raise AnswerError(f"a list of {len(wanted)} feeds, at most {MOST_LISTED}")
    slugs = {
        folder: slug[: LENGTHS.channel_slug]
        for folder in wanted.values()
        if folder and (slug := make_slug(folder))
    }

    def follow(conn: Connection) -> tuple[int, int]:
        ids = ensure_channels(
            conn, {slug: name[: LENGTHS.channel_name] for name, slug in slugs.items()}
        )
        feeds = {
            address: ids[slugs[folder]] if folder in slugs else None
            for address, folder in wanted.items()
        }
        return follow_list(conn, feeds, added_by=f"list:{source.source_id}")

    came, left = transact(engine, follow)
    seen.counts.created, seen.counts.updated = came, left
    seen.counts.unchanged = len(wanted) - came


def _tidy(address: str | None) -> str | None:
    try:
        return tidy_address(address) if address else None
    except SourceError:
        return None
