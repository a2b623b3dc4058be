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
TOKEN_BYTES = 72
# Action, reader, channel, stamp, article, position, source, moment of issue; variant, context and
# flags, which programs of the release before pass over. Tokens of the one before that end before
# the variant, and are read as well.
_BODY = struct.Struct(">BqiqqBBIBBB")
_SHORT_BODY = struct.Struct(">BqiqqBBI")
_IDENTITY = struct.Struct(">BqiqqB")
# With 3 bytes in 4 characters both lengths are without padding and spare bits, so there is one
# spelling of a token.
_BODY_OF = {(body.size + MAC_BYTES) // 3 * 4: body for body in (_BODY, _SHORT_BODY)}
_TO_URL = bytes.maketrans(b"+/", b"-_")
_ACTS = {action.value: action for action in Action}
_FIRST_VISIT = 1
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")


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
    0.

    Attributes:
        source: number of what brought the article into the batch, 0 if that is not known.
        variant: number of the way in which the batch was ranked.
        context: how the reader came, as `contexts.Context.code`.
        first_visit: the reader's id had been made up for the request that was answered with this.
    """

    action: Action
    reader_id: int
    channel_id: int
    stamp_ms: int
    article_id: int = 0
    position: int = 0
    source: int = 0
    variant: int = 0
    context: int = 0
    first_visit: bool = False

    @property
    def event_id(self) -> bytes:
        """16 bytes that are equal for every token about the same place and action, whenever it was
        issued."""
        identity = _IDENTITY.pack(
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
        self._signing = hmac.new(self._keys[0], digestmod="sha256")

    def issue(self, shown: Shown, now_ms: int) -> str:
        """A URL-safe token of `TOKEN_BYTES` characters, valid for 30 days from `now_ms`."""
        (token,) = self.issue_each(shown, (shown.action,), now_ms)
        return token.decode()

    def issue_each(self, shown: Shown, actions: Iterable[Action], now_ms: int) -> list[bytes]:
        """`issue`, for each of these actions in one place; the action of `shown` does not
        matter."""
        place = (
            shown.reader_id,
            shown.channel_id,
            shown.stamp_ms,
            shown.article_id,
            shown.position,
            shown.source,
            now_ms // 1000,
            shown.variant,
            shown.context,
            _FIRST_VISIT if shown.first_visit else 0,
        )
        signed: list[bytes] = []
        for action in actions:
            body = _BODY.pack(action, *place)
            # PERF: a copy has taken the key in already; `hmac.digest` costs half as much again.
            mac = self._signing.copy()
            mac.update(body)
            signed += (body, mac.digest()[:MAC_BYTES])
        # PERF: written out together, since no token has spare bits.
        text = binascii.b2a_base64(b"".join(signed), newline=False).translate(_TO_URL)
        return [text[start : start + TOKEN_BYTES] for start in range(0, len(text), TOKEN_BYTES)]

    def read(self, token: str, now_ms: int) -> Shown:
        """What the token is about.

        Raises:
            TokenRefusedError: it was not issued here, or a byte of it has changed, or it names an
                act that a newer release knows.
            TokenExpiredError: it was issued more than 30 days before `now_ms`.
        """
        body, mac, layout = _split(token)
        if not any([hmac.compare_digest(_mac(key, body), mac) for key in self._keys]):  # noqa: C419 - PERF: a list takes the same time whichever key fits
            raise TokenRefusedError("not a token of this site")
        (
            action,
            reader_id,
            channel_id,
            stamp_ms,
            article_id,
            position,
            source,
            issued_s,
            *of_this_release,
        ) = layout.unpack(body)
        if issued_s + TOKEN_TTL_S < now_ms // 1000:
            raise TokenExpiredError("the token is more than 30 days old")
        act = _ACTS.get(action)
        if act is None:
            raise TokenRefusedError(f"act {action} is of another release")
        variant, context, flags = of_this_release or (0, 0, 0)
        return Shown(
            act,
            reader_id,
            channel_id,
            stamp_ms=stamp_ms,
            article_id=article_id,
            position=position,
            source=source,
            variant=variant,
            context=context,
            first_visit=bool(flags & _FIRST_VISIT),
        )


def _split(token: str) -> tuple[bytes, bytes, struct.Struct]:
    try:
        layout = _BODY_OF[len(token)]
        spelt = token.encode("ascii").translate(_FROM_URL)
        raw = binascii.a2b_base64(spelt, strict_mode=True)
    except (KeyError, ValueError):
        raise TokenRefusedError("not a token of this site") from None
    return raw[:-MAC_BYTES], raw[-MAC_BYTES:], layout


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:MAC_BYTES]
