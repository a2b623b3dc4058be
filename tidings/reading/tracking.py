"""Signs and reads the tokens by which a reader's acts are told apart from anybody's claims.

A token carries all it names (who was shown what, where, when) and an HMAC over it, so checking one
needs no store and no lookup. Rejected: random tokens kept in Redis, which cost memory for every
article shown and are forgotten at the worst time; and JWT, whose header alone is longer than a
whole token here.

    tracker = Tracker(keys)
    token = tracker.issue(Shown(Action.CLICK, 7, 10, stamp_ms=now_ms(), article_id=12), now_ms())
    tracker.read(token, now_ms()).article_id  # 12
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tidings.reading.acts import Action

TOKEN_TTL_S = 30 * 24 * 3600
MAC_BYTES = 16
TOKEN_BYTES = 68
_BODY = struct.Struct(">BqiqqBBI")


class LadderSource(IntEnum):
    """What brought an article into a page that the recommender did not choose. The recommender's
    sources of candidates have numbers of their own, and none of these."""

    POPULAR = 10
    NEWEST = 11


class TokenRefusedError(Exception):
    """Not a token of ours, or one with something changed."""


class TokenExpiredError(Exception):
    """One of ours, issued more than 30 days ago."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One place in one batch: what a token is about. An exposure token has article 0 and position
    0."""

    action: Action
    reader_id: int
    channel_id: int
    stamp_ms: int
    article_id: int = 0
    position: int = 0
    source: int = 0

    @property
    def event_id(self) -> bytes:
        """16 bytes that are equal for every token about the same place and action, whenever it was
        issued."""
        identity = struct.pack(
            ">BqiqqB",
            self.action,
            self.reader_id,
            self.channel_id,
            self.stamp_ms,
            self.article_id,
            self.position,
        )
        return hashlib.blake2s(identity, digest_size=16).digest()


class Tracker:
    """Issues tokens under the first key and accepts them under any, so that keys can be rotated.

    Args:
        keys: secrets of 32 bytes or more, newest first.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("a tracker needs at least one key")
        # A key of its own, so that a signature made for another purpose is never a token.
        self._keys = [hmac.digest(key, b"tidings.tracking.1", "sha256") for key in keys]

    def issue(self, shown: Shown, now_ms: int) -> str:
        """A URL-safe token of `TOKEN_BYTES` characters, valid for 30 days from `now_ms`."""
        (token,) = self.issue_each(shown, (shown.action,), now_ms)
        return token.decode()

    def issue_each(self, shown: Shown, actions: Iterable[Action], now_ms: int) -> list[bytes]:
        """`issue`, for each of these actions in one place; the action of `shown` does not
        matter."""
        tokens = []
        for action in actions:
            body = _BODY.pack(
                action,
                shown.reader_id,
                shown.channel_id,
                shown.stamp_ms,
                shown.article_id,
                shown.position,
                shown.source,
                now_ms // 1000,
            )
            signed = body + self._mac(self._keys[0], body)
            tokens.append(base64.urlsafe_b64encode(signed).rstrip(b"="))
        return tokens

    def read(self, token: str, now_ms: int) -> Shown:
        """What the token is about.

        Raises:
            TokenRefusedError: it was not issued here, or a byte of it has changed, or it names an
                act that a newer release knows.
            TokenExpiredError: it was issued more than 30 days before `now_ms`.
        """
        body, mac = self._split(token)
        if not any([hmac.compare_digest(self._mac(key, body), mac) for key in self._keys]):  # noqa: C419 - PERF: a list takes the same time whichever key fits
            raise TokenRefusedError("not a token of this site")
        action, reader_id, channel_id, stamp_ms, article_id, position, source, issued_s = (
            _BODY.unpack(body)
        )
        if issued_s + TOKEN_TTL_S < now_ms // 1000:
            raise TokenExpiredError("the token is more than 30 days old")
        try:
            act = Action(action)
        except ValueError:
            raise TokenRefusedError(f"act {action} is of another release") from None
        return Shown(
            act,
            reader_id,
            channel_id,
            stamp_ms=stamp_ms,
            article_id=article_id,
            position=position,
            source=source,
        )

    @staticmethod
    def _split(token: str) -> tuple[bytes, bytes]:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise TokenRefusedError("not a token of this site") from None
        # Base64 has spare bits at the end: two spellings of one token would be two tokens.
        canonical = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        if len(raw) != _BODY.size + MAC_BYTES or canonical != token:
            raise TokenRefusedError("not a token of this site")
        return raw[: _BODY.size], raw[_BODY.size :]

    @staticmethod
    def _mac(key: bytes, body: bytes) -> bytes:
        return hmac.digest(key, body, "sha256")[:MAC_BYTES]
