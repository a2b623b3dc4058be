"""Tickets: how a socket of the chat learns who its reader is, from a gateway that knows.

A page cannot read its own cookie, and an address that holds a secret ends up in logs. So the
gateway, which sees the cookie or the key, signs a ticket that is good for one socket within a
minute. It names the reader however they signed in. When it ends is told by the clock of Redis at
both ends, since the clocks of two machines may be a minute apart. Redis holds those that are still
good, and not those that were used: one that comes back empty would admit these again. It knows for
whom each was issued, so that a stolen secret key of the site opens no role. Rejected: the cookie of
the handshake alone, which programs with a key do not have, and which a browser sends for pages of
other sites as well.

    tickets = Tickets(read_secret_keys(settings.site), redis)
    text = tickets.issue(reader_id, key=None).text
    tickets.admit(text)  # Admission(reader_id=4503599627370503, role=None, key_id=None), once
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import jwt
from redis import Redis

from tidings.readers.keys import Key, Role
from tidings.store.keys import TICKET

AUDIENCE = "chat"
TTL_S = 60
# A ticket of ours has about 250; what is longer is none, and is not decoded.
MOST_CHARS = 1024
_ALGORITHM = "HS256"
_CLAIMS = ["sub", "jti", "iat", "exp", "aud"]
# The library would compare these with this machine's clock.
_OPTIONS: Any = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}


class TicketRefusedError(Exception):
    """It admits no socket.

    Attributes:
        reason: `wrong`, `expired` or `used`, for a metric; the client is not told.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("the ticket is wrong, has expired or was used")
        self.reason = reason


class Ticket(NamedTuple):
    """A ticket as it travels, and the moment when it ends, in ms since the epoch."""

    text: str
    expires_at: int


class Admission(NamedTuple):
    """Whom a ticket admits.

    Attributes:
        role: of the key that was shown for the ticket; None for an anonymous reader.
        key_id: that key, which may be revoked while the socket is open.
    """

    reader_id: int
    role: Role | None
    key_id: int | None


class Tickets:
    """Issues tickets under the first key and accepts them under any, so that keys can be rotated.

    Args:
        keys: secrets of 32 bytes or more, newest first.
        redis: remembers which are still good. Without it none is issued and none admitted.
    """

    def __init__(self, keys: Sequence[bytes], redis: Redis) -> None:
        # A key of its own, so that a signature made for another purpose is never a ticket.
        self._keys = [hmac.digest(key, b"tidings.tickets.1", "sha256") for key in keys]
        self._redis = redis

    def issue(self, reader_id: int, key: Key | None) -> Ticket:
        """A ticket for this reader.

        Args:
            key: what the caller showed, if it was a key.

        Raises:
            RedisError: Redis does not answer.
        """
        number = secrets.randbits(128)
        admission = Admission(
            reader_id,
            role=None if key is None else key.role,
            key_id=None if key is None else key.key_id,
        )
        with self._redis.pipeline(transaction=False) as asked:
            asked.set(TICKET.of(number), _said_of(admission), ex=TICKET.ttl_s)
            asked.time()
            _, (seconds, _) = asked.execute()
        claims: dict[str, Any] = {
            "aud": AUDIENCE,
            "sub": str(reader_id),
            "jti": str(number),
            "iat": seconds,
            "exp": seconds + TTL_S,
        }
        if key is not None:
            claims |= {"role": key.role.value, "key": key.key_id}
        text = jwt.encode(claims, self._keys[0], algorithm=_ALGORITHM)
        return Ticket(text, (seconds + TTL_S) * 1000)

    def admit(self, text: str) -> Admission:
        """Use a ticket up.

        Raises:
            TicketRefusedError: it was not issued here, has expired, was used before, or Redis has
                lost its memory since.
            RedisError: Redis does not answer; the same ticket may be shown again.
        """
        claims = self._read(text)
        try:
            role = claims.get("role")
            admission = Admission(
                int(claims["sub"]), None if role is None else Role(role), claims.get("key")
            )
            number, ends_s = int(claims["jti"]), claims["exp"]
        except ValueError:  # signed by a later release
            raise TicketRefusedError("wrong") from None
        with self._redis.pipeline(transaction=False) as asked:
            asked.time()
            asked.get(TICKET.of(number))
            asked.delete(TICKET.of(number))
            (seconds, _), issued_for, is_good = asked.execute()
        if seconds >= ends_s:
            raise TicketRefusedError("expired")
        if not is_good:
            raise TicketRefusedError("used")
        if issued_for != _said_of(admission):
            raise TicketRefusedError("wrong")
        return admission

    def _read(self, text: str) -> dict[str, Any]:
        """The claims of a ticket that is signed by one of the keys."""
        if len(text) <= MOST_CHARS:
            for key in self._keys:
                try:
                    claims: dict[str, Any] = jwt.decode(
                        text,
                        key,
                        algorithms=[_ALGORITHM],
                        audience=AUDIENCE,
                        options=_OPTIONS,
                    )
                except jwt.InvalidTokenError:
                    continue
                return claims
        raise TicketRefusedError("wrong")


def _said_of(admission: Admission) -> bytes:
    """What Redis keeps of a ticket."""
    return f"{admission.reader_id}:{admission.role or ''}:{admission.key_id or ''}".encode()
