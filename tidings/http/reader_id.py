"""Anonymous readers: a signed id, in a cookie for browsers or in `X-Reader` for other programs.

Ids are random and lie between 2**52 and 2**53: never an account's id, which count from 1, and exact
in JavaScript's numbers. The signature keeps one reader from reading or spoiling another's feed; a
reader who changes it becomes a new one. Rejected: sessions kept in a store, which every first visit
of a robot would fill.

    signer = ReaderSigner(keys)
    reader_id, is_signed_by_newest = signer.read(signer.sign(signer.new_id()))
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

import falcon
from prometheus_client import Counter

COOKIE = "tidings_reader"
# Over HTTPS. Browsers take it from this very host alone, so that no subdomain can plant a reader.
HOST_COOKIE = f"__Host-{COOKIE}"
HEADER = "X-Reader"
COOKIE_TTL_S = 365 * 24 * 3600
FIRST_ID = 2**52
_SIGNED = re.compile(r"([1-9][0-9]{15})\.([A-Za-z0-9_-]{22})", re.ASCII)

IDENTIFIED = Counter(
    "tidings_readers_identified", "Requests by what their reader's id was worth", ["outcome"]
)


class ReaderSigner:
    """Signs reader ids under the first key and accepts them under any, so that keys can be rotated.

    Args:
        keys: secrets of 32 bytes or more, newest first.
        random_bits: makes the ids; `secrets.randbits` but in tests.
    """

    def __init__(
        self, keys: Sequence[bytes], random_bits: Callable[[int], int] = secrets.randbits
    ) -> None:
        if not keys:
            raise ValueError("a signer needs at least one key")
        # A key of its own, so that a signature made for another purpose is never a reader.
        self._keys = [hmac.digest(key, b"tidings.readers.1", "sha256") for key in keys]
        self._random_bits = random_bits

    def new_id(self) -> int:
        return FIRST_ID | self._random_bits(52)

    def sign(self, reader_id: int) -> str:
        """`id.signature`, 39 characters that need no quoting in a cookie or header."""
        return f"{reader_id}.{_signature(self._keys[0], reader_id)}"

    def read(self, signed: str) -> tuple[int, bool] | None:
        """The id, and whether the newest key signed it; None if none of ours did."""
        found = _SIGNED.fullmatch(signed)
        if found is None:
            return None
        reader_id = int(found[1])
        fits = [hmac.compare_digest(_signature(key, reader_id), found[2]) for key in self._keys]
        return (reader_id, fits[0]) if any(fits) else None


class Claim(NamedTuple):
    """A reader's id that a request brought, signed by us, and what to do about it.

    Attributes:
        outcome: a word for the metric; all but `known` are to be given anew.
    """

    reader_id: int
    outcome: str


def find_claim(req: falcon.Request, signer: ReaderSigner) -> Claim | None:
    """Who the request says it is from; None if it says nothing, or nothing of ours."""
    cookies = req.cookies
    claims = (
        (req.get_header(HEADER), "known"),
        (cookies.get(HOST_COOKIE), "known"),
        (cookies.get(COOKIE), "old_cookie" if req.scheme == "https" else "known"),
    )
    is_any = False
    for claim, outcome in claims:
        known = signer.read(claim) if claim else None
        if known is not None:
            reader_id, is_signed_by_newest = known
            word = outcome if is_signed_by_newest else "signed_anew"
            return Claim(reader_id, word)
        is_any = is_any or bool(claim)
    IDENTIFIED.labels("refused" if is_any else "new").inc()
    return None


def give_reader(req: falcon.Request, resp: falcon.Response, signed: str) -> None:
    """Send a signed id along with the answer, in a cookie and in `X-Reader`."""
    resp.set_header(HEADER, signed)
    is_secure = req.scheme == "https"
    resp.set_cookie(
        HOST_COOKIE if is_secure else COOKIE,
        signed,
        max_age=COOKIE_TTL_S,
        path="/",
        secure=is_secure,
        http_only=True,
        same_site="Lax",
    )


def _signature(key: bytes, reader_id: int) -> str:
    mac = hmac.digest(key, str(reader_id).encode(), "sha256")[:16]
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
