"""Sending: many messages of many senders in one transaction, each stored once under its next seq.

Seqs are given out under the locks of the conversations, taken in the order of their ids, so a
conversation has no holes and two nodes wait for each other without a deadlock. A message is looked
up by (sender, cid) under the same locks: sent again it gives the seq it had. All is done by as many
statements for one message as for MOST_SENDS. Rejected: a transaction a message; the disk syncs
once for each, and a node would store a few hundred a second.

    sends = [Send(sender_id=7, cid="c1", conversation_id=3, body="Good morning")]
    send_many(conn, sends)  # [Sent(cid="c1", conversation_id=3, seq=1, …)]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, text

from tidings.process.clock import milliseconds
from tidings.store.by_key import update_by_key
from tidings.store.metadata import Moment
from tidings.talk import events
from tidings.talk.asked import Question, owe
from tidings.talk.errors import (
    BlockedError,
    CidConflictError,
    InvalidError,
    NotAMemberError,
    TalkError,
    TooLongError,
)
from tidings.talk.members import (
    BETWEEN_TWO,
    DESK_ID,
    Audiences,
    find_audiences,
    lock_conversations,
    read_pair,
)
from tidings.talk.outbox import put
from tidings.talk.tables import conversation, message

# A message is a few pages of text at most; what is longer is a document, and has no place here.
MOST_BODY_BYTES = 16 * 1024
MOST_CID = 64
# Of one transaction: what is waited for by the first is stored within a few milliseconds, and one
# row of the outbox stays below 10 MiB, where servers take 16 by default.
MOST_SENDS = 100

_PAIRS_LITE = (
    "(SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS cid FROM "
    "json_each(:wanted)) AS wanted CROSS JOIN message AS m"
)
_PAIRS_MY = (
    "JSON_TABLE(:wanted, '$[*]' COLUMNS (id BIGINT PATH '$[0]', cid VARCHAR(64) CHARACTER SET "
    "utf8mb4 COLLATE utf8mb4_bin PATH '$[1]')) AS wanted STRAIGHT_JOIN message AS m FORCE INDEX "
    "(uq_message_sender_id_cid)"
)
# From a list of (sender, cid) by their key: given the pairs by IN, MariaDB compares each row of the
# table with all of them.
_SENT = {
    dialect: text(
        "SELECT m.sender_id, m.cid, m.conversation_id, m.seq, m.at, m.cid_digest FROM "  # noqa: S608
        f"{listed} ON m.sender_id = wanted.id AND m.cid = wanted.cid"
    ).columns(at=Moment)
    for dialect, listed in (("sqlite", _PAIRS_LITE), ("mysql", _PAIRS_MY))
}


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be stored.

    Attributes:
        cid: the sender's own name for it, 1 to 64 characters, as a UUID, with no blank at its end;
            the same one again gives the same seq.
    """

    sender_id: int
    cid: str
    conversation_id: int
    body: str


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is stored, now or when this cid was sent before."""

    cid: str
    conversation_id: int
    seq: int
    at: datetime


class Refused(msgspec.Struct, frozen=True):
    """A message that is not stored: `error.code`, `str(error)`."""

    cid: str
    error: TalkError


def send_many(conn: Connection, sends: Sequence[Send]) -> list[Sent | Refused]:
    """Store messages; the answers stand in the order of `sends`, and a refused one harms no other.

    Messages of one conversation get their seqs in the order of `sends`. Run it by `transact`: two
    nodes that store one cid in two conversations at once violate its key.

    Args:
        sends: up to MOST_SENDS.
    """
    if len(sends) > MOST_SENDS:
        raise ValueError(f"expected up to {MOST_SENDS} messages, got {len(sends)}")
    flaws = [_find_flaw(send) for send in sends]
    good = [send for send, flaw in zip(sends, flaws, strict=True) if flaw is None]
    if not good:
        return _answers(sends, flaws, {})
    ids = {send.conversation_id for send in good}
    locked = lock_conversations(conn, ids)
    batch = _Batch(locked, _find_sent(conn, good), _find_audiences(conn, locked, good))
    for at, send in enumerate(sends):
        if flaws[at] is None:
            flaws[at] = batch.take(send)
    batch.store(conn)
    return _answers(sends, flaws, batch.sent)


class _Batch:
    """Messages of one transaction: first all are judged and numbered, then all are stored."""

    def __init__(
        self,
        locked: Mapping[int, Row[Any]],
        sent: dict[tuple[int, str], Any],
        audiences: Audiences,
    ) -> None:
        self._locked = locked
        self._audiences = audiences
        self._last: dict[int, int] = {}
        self._rows: list[dict[str, Any]] = []
        # (sender, cid) → conversation_id, seq, at, cid_digest.
        self.sent = sent

    def take(self, send: Send) -> TalkError | None:
        """Number a message, or find it stored; or tell why it is refused."""
        digest = _digest(send)
        known = self.sent.get((send.sender_id, send.cid))
        if known is not None:
            return None if known.cid_digest == digest else CidConflictError(send.cid)
        row = self._locked.get(send.conversation_id)
        if row is None:
            return NotAMemberError(send.conversation_id)
        audience = self._audiences.of(send.conversation_id, send.sender_id)
        if send.sender_id not in audience.to:
            return NotAMemberError(send.conversation_id)
        if row.kind in BETWEEN_TWO and self._is_blocked(row):
            return BlockedError()
        seq = self._last.get(row.id, row.last_seq) + 1
        self._last[row.id] = seq
        stored = _Stored(conversation_id=row.id, seq=seq, at=row.now, cid_digest=digest)
        self.sent[send.sender_id, send.cid] = stored
        self._rows.append(
            {
                "conversation_id": row.id,
                "seq": seq,
                "sender_id": send.sender_id,
                "cid": send.cid,
                "cid_digest": digest,
                "body": send.body,
                "at": row.now,
            }
        )
        return None

    def _is_blocked(self, row: Row[Any]) -> bool:
        return any(self._audiences.of(row.id, id_).hid for id_ in read_pair(row.direct_key))

    def store(self, conn: Connection) -> None:
        if not self._rows:
            return
        now: datetime = self._rows[0]["at"]
        changes = "last_seq = wanted.n, changed_at = :changed_at"
        update_by_key(conn, conversation, self._last, changes, changed_at=now)
        conn.execute(insert(message), self._rows)
        owe(conn, [Question(*place) for place in self._asked()], now=now)
        put(conn, [self._entry(row) for row in self._rows], now=now)

    def _asked(self) -> Iterator[tuple[int, int]]:
        """The places of messages to the desk."""
        for row in self._rows:
            kind = self._locked[row["conversation_id"]].kind
            if kind == "desk" and row["sender_id"] != DESK_ID:
                yield row["conversation_id"], row["seq"]

    def _entry(self, row: Mapping[str, Any]) -> events.Entry:
        event = events.Message(
            conversation_id=row["conversation_id"],
            seq=row["seq"],
            sender_id=row["sender_id"],
            cid=row["cid"],
            body=row["body"],
            at=milliseconds(row["at"]),
        )
        audience = self._audiences.of(event.conversation_id, event.sender_id)
        return events.Entry.of(event, to=audience.to, hid=audience.hid)


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    conversation_id: int
    seq: int
    at: datetime
    cid_digest: str


def check_body(body: str) -> None:
    """See that a text can be a message.

    Raises:
        InvalidError: there is nothing in it, or it is no text.
        TooLongError: it is longer than MOST_BODY_BYTES in UTF-8.
    """
    if not body.strip():
        raise InvalidError("a message cannot be empty")
    try:
        size = len(body.encode())
    except UnicodeEncodeError:
        raise InvalidError("a message must be text: half of a surrogate pair is none") from None
    if size > MOST_BODY_BYTES:
        raise TooLongError(f"a message has at most {MOST_BODY_BYTES} bytes, this one has {size}")


def _find_flaw(send: Send) -> TalkError | None:
    if not 1 <= len(send.cid) <= MOST_CID or not send.cid.isascii() or not send.cid.isprintable():
        return InvalidError(f"a cid is 1 to {MOST_CID} printable characters of ASCII")
    # MariaDB compares without them, so its key would be violated by one that no look finds.
    if send.cid.endswith(" "):
        return InvalidError("a cid does not end with a blank")
    try:
        check_body(send.body)
    except TalkError as ex:
        return ex
    return None


def _answers(
    sends: Sequence[Send],
    flaws: Sequence[TalkError | None],
    sent: Mapping[tuple[int, str], Any],
) -> list[Sent | Refused]:
    answers: list[Sent | Refused] = []
    for send, flaw in zip(sends, flaws, strict=True):
        if flaw is not None:
            answers.append(Refused(send.cid, flaw))
            continue
        row = sent[send.sender_id, send.cid]
        answers.append(
            Sent(cid=send.cid, conversation_id=row.conversation_id, seq=row.seq, at=row.at)
        )
    return answers


def _find_sent(conn: Connection, sends: Sequence[Send]) -> dict[tuple[int, str], Any]:
    query = _SENT["sqlite" if conn.dialect.name == "sqlite" else "mysql"]
    keys = sorted({(send.sender_id, send.cid) for send in sends})
    rows = conn.execute(query, {"wanted": json.dumps(keys, separators=(",", ":"))})
    return {(row.sender_id, row.cid): row for row in rows}


def _find_audiences(
    conn: Connection, locked: Mapping[int, Row[Any]], sends: Sequence[Send]
) -> Audiences:
    people = {send.sender_id for send in sends}
    for row in locked.values():
        people.update(read_pair(row.direct_key))
    return find_audiences(conn, locked.keys(), people)


def _digest(send: Send) -> str:
    said = f"{send.conversation_id}:{send.body}"
    return hashlib.sha256(said.encode()).hexdigest()
