"""Who reads: an anonymous reader with a signed id, in a cookie for browsers or in `X-Reader` for
other programs.

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


class IdentifyReader:
    """Falcon middleware: sets `req.context.reader_id` for resources that say `needs_reader = True`.

    A request that brought no valid id gets a new one, in a cookie and in `X-Reader` of its answer.
    A resource that says `renews_reader = True` gives a known id again, so that its cookie lives on;
    and so does a request over HTTPS that still brings the cookie of plain HTTP.
    """

    def __init__(self, signer: ReaderSigner) -> None:
        self._signer = signer

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        _params: dict[str, object],
    ) -> None:
        # A preflight brings no cookie: an id for each would be an id for nothing.
        if not getattr(resource, "needs_reader", False) or req.method == "OPTIONS":
            return
        known, outcome = self._identify(req)
        if known is None:
            req.context.reader_id = self._signer.new_id()
        else:
            req.context.reader_id, _ = known
        is_old = outcome == "old_cookie"
        if known is None or not known[1] or is_old or getattr(resource, "renews_reader", False):
            self._give(req, resp, req.context.reader_id)
        IDENTIFIED.labels(outcome).inc()

    def _identify(self, req: falcon.Request) -> tuple[tuple[int, bool] | None, str]:
        cookies = req.cookies
        claims = [
            (req.get_header(HEADER), "known"),
            (cookies.get(HOST_COOKIE), "known"),
            (cookies.get(COOKIE), "old_cookie" if req.scheme == "https" else "known"),
        ]
        for claim, outcome in claims:
            known = self._signer.read(claim) if claim else None
            if known is not None:
                return known, outcome if known[1] else "signed_anew"
        return None, "refused" if any(claim for claim, _ in claims) else "new"

    def _give(self, req: falcon.Request, resp: falcon.Response, reader_id: int) -> None:
        signed = self._signer.sign(reader_id)
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
