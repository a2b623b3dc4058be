"""What editors and authors do with articles: each verb once, for the shell and for HTTP.

Each locks the article, asks whether the actor may, whether the actor has seen what it is now, and
whether the verb fits its status; then it changes it and enters that in the audit log, in the one
transaction of the `Act`. An author writes only what is theirs and not out yet; all else is an
editor's. Rejected: the checks at the doors; a second door would forget one.

    perform(engine, actor, articles, lambda act: publish(act, 42, seen={"6f0c…"}))
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection
from datetime import datetime

import msgspec
from msgspec import UNSET

from tidings.editing.acting import Act, NotAllowedError, Seen
from tidings.editing.audit import find_changes, find_entries
from tidings.editing.fields import FieldError, Fields, need_channel, write
from tidings.editing.records import check_seen, need_own
from tidings.news import drafting, publishing, removal
from tidings.news.listing import Record, read_record
from tidings.news.storing import EDITOR_ORIGIN, make_identity
from tidings.news.visibility import DRAFT, IN_REVIEW, PUBLISHED, SCHEDULED
from tidings.readers.keys import Role
from tidings.sources.registry import ensure_key

ARTICLE = "article"
# Of all that is stored, what is no act of an editor's.
_NOT_NOTED = frozenset({"counts", "updated_at", "edited_at"})
MOST_NOTE = 1024


class StatusError(Exception):
    """The verb does not fit the article's status."""

    def __init__(self, record: Record, verb: str) -> None:
        super().__init__(f"article {record.article_id} is {record.status}; it cannot be {verb}")


class OtherArticleError(Exception):
    """The idempotency key created another article than this."""

    def __init__(self) -> None:
        super().__init__("the key was used with another article; take a new one")


def create(act: Act, fields: Fields, *, key: str | None = None) -> Record:
    """Store a new draft.

    Args:
        fields: with title, channel_id, and body or body_html.
        key: of one request; the same again is the same article.

    Raises:
        FieldError: a field cannot be stored, or is missing.
        OtherArticleError: the key created an article from other fields.
        ArticleNotFoundError: what the key created was deleted since.
    """
    actor = act.actor
    origin_id = (
        EDITOR_ORIGIN
        if actor.key_id is None
        else ensure_key(act.conn, actor.key_id, name=actor.name.removeprefix("key:"))
    )
    asked = hashlib.sha256(msgspec.json.encode(fields)).hexdigest()
    own = uuid.uuid4().hex if key is None else hashlib.sha256(key.encode()).hexdigest()
    source_id = make_identity(origin_id, own)
    known = None if key is None else drafting.find_own(act.conn, source_id)
    if known is not None:
        _check_same(act, known, asked)
        return read_record(act.conn, known)
    if fields.channel_id is UNSET:
        raise FieldError("channel_id", "missing")
    need_channel(act.conn, fields.channel_id)
    article_id = drafting.add_draft(
        act.conn,
        write(act.conn, fields),
        channel_id=fields.channel_id,
        origin_id=origin_id,
        source_id=source_id,
    )
    record = read_record(act.conn, article_id)
    act.note("create", ARTICLE, article_id, after=_noted(record) | {"asked": asked})
    return record


def edit(act: Act, article_id: int, fields: Fields, *, seen: Seen = None) -> Record:
    """Change what is set; the article is its editor's from then on, whatever its source says.

    Raises:
        ArticleNotFoundError: there is none of this id.
        NotAllowedError: it is another author's, or out.
        StaleRecordError: it was changed meanwhile.
        FieldError: a field cannot be stored.
    """
    known = _open(act, article_id, seen)
    _need_unpublished(act, known)
    channel_id = known.channel_id if fields.channel_id is UNSET else fields.channel_id
    if channel_id != known.channel_id:
        need_channel(act.conn, channel_id)
    written = write(act.conn, fields, known)
    drafting.rewrite(act.conn, article_id, written, channel_id=channel_id)
    act.articles.forget_after(act.conn, [article_id])
    return _close(act, known, "edit")


def submit(act: Act, article_id: int, *, seen: Seen = None) -> Record:
    """Ask an editor to review a draft.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
        StatusError: it is no draft.
    """
    known = _open(act, article_id, seen)
    if not publishing.submit(act.conn, article_id):
        raise StatusError(known, "submitted")
    return _close(act, known, "submit")


def send_back(act: Act, article_id: int, note: str, *, seen: Seen = None) -> Record:
    """Make what was submitted a draft again, with what has to be different.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
        StatusError: it was not submitted.
        FieldError: the note is too long.
    """
    known = _open_as_editor(act, article_id, seen)
    if len(note) > MOST_NOTE:
        raise FieldError("note", f"{len(note)} characters, at most {MOST_NOTE}")
    if not publishing.send_back(act.conn, article_id):
        raise StatusError(known, "returned")
    drafting.set_note(act.conn, article_id, note or None)
    return _close(act, known, "return")


def approve(act: Act, article_id: int, *, seen: Seen = None) -> Record:
    """Show what was submitted.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
        StatusError: it was not submitted.
    """
    known = _open_as_editor(act, article_id, seen)
    if known.status != IN_REVIEW:
        raise StatusError(known, "approved")
    publishing.publish(act.conn, article_id, act.articles)
    return _close(act, known, "approve")


def publish(act: Act, article_id: int, *, seen: Seen = None) -> Record:
    """Show an article now; nothing where it is out already.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
    """
    known = _open_as_editor(act, article_id, seen)
    publishing.publish(act.conn, article_id, act.articles)
    return _close(act, known, "publish")


def schedule(act: Act, article_id: int, run_at: datetime, *, seen: Seen = None) -> Record:
    """Hide an article until a moment, and show it then; again, it moves the moment.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
    """
    known = _open_as_editor(act, article_id, seen)
    publishing.schedule_publication(act.conn, article_id, run_at, act.articles)
    return _close(act, known, "schedule")


def publish_due(act: Act, article_ids: Collection[int]) -> None:
    """Show those of these articles whose hour has come."""
    for article_id in publishing.publish_due(act.conn, article_ids, act.articles):
        act.note(
            "publish",
            ARTICLE,
            article_id,
            before={"status": SCHEDULED},
            after={"status": PUBLISHED},
        )


def take_down(act: Act, article_id: int, *, seen: Seen = None) -> Record:
    """Show an article nowhere any more.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
        StatusError: it was never out.
    """
    known = _open_as_editor(act, article_id, seen)
    if known.status in (DRAFT, IN_REVIEW):
        raise StatusError(known, "taken down")
    publishing.take_down(act.conn, article_id, act.articles)
    return _close(act, known, "take_down")


def restore(act: Act, article_id: int, *, seen: Seen = None) -> Record:
    """Show again what was taken down.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
        StatusError: it was not taken down.
    """
    known = _open_as_editor(act, article_id, seen)
    if not publishing.restore(act.conn, article_id, act.articles):
        raise StatusError(known, "restored")
    return _close(act, known, "restore")


def delete(act: Act, article_id: int, *, seen: Seen = None) -> None:
    """Delete an article for good: its source does not bring it back.

    Raises:
        ArticleNotFoundError, NotAllowedError, StaleRecordError: as of `edit`.
    """
    known = _open_as_editor(act, article_id, seen)
    removal.delete_later(act.conn, article_id, act.articles)
    act.note("delete", ARTICLE, article_id, before=_noted(known))


def _open(act: Act, article_id: int, seen: Seen) -> Record:
    """The article, under its lock, as one that the actor may know and has seen."""
    drafting.lock_article(act.conn, article_id)
    record = read_record(act.conn, article_id)
    need_own(act.conn, act.actor, record)
    check_seen(ARTICLE, article_id, record, seen)
    return record


def _open_as_editor(act: Act, article_id: int, seen: Seen) -> Record:
    act.need(Role.EDITOR)
    return _open(act, article_id, seen)


def _close(act: Act, before: Record, verb: str) -> Record:
    """The article as it is now, with an entry of what is different."""
    record = read_record(act.conn, before.article_id)
    old, new = find_changes(_noted(before), _noted(record))
    if new:
        is_moved = list(new) == ["channel_id", "channel"]
        done = "move" if is_moved else verb
        act.note(done, ARTICLE, record.article_id, before=old, after=new)
    return record


def _noted(record: Record) -> dict[str, object]:
    return {name: value for name, value in record._asdict().items() if name not in _NOT_NOTED}


def _need_unpublished(act: Act, record: Record) -> None:
    if not act.actor.is_editor and record.status not in (DRAFT, IN_REVIEW):
        raise NotAllowedError(f"article {record.article_id} is {record.status}; editors change it")


def _check_same(act: Act, article_id: int, asked: str) -> None:
    nouns = {ARTICLE}
    for entry in find_entries(act.conn, limit=1, nouns=nouns, noun_id=article_id, verb="create"):
        if (entry.after or {}).get("asked") != asked:
            raise OtherArticleError
