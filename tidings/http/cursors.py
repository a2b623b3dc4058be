"""Where a list goes on: an opaque, signed word that a client gives back as it was.

A list is `{"results": […], "next": "…" | null}` everywhere. The word holds the place of the last
item, so that what is added or taken away meanwhile moves nothing; it is signed for one reader and
one list, so that no client comes to rely on what is inside. Rejected: page numbers, under which
items come twice or never.

    cursors = Cursors(keys)
    word = cursors.sign("likings", reader_id, (since_ms, 0, 12))
    cursors.read("likings", reader_id, word)  # (since_ms, 0, 12)
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from tidings.http.errors import InvalidRequestError
from tidings.http.parameters import IntParameter, TextParameter

_PLACE = struct.Struct(">qqq")
_MAC_BYTES = 12
Place = tuple[int, int, int]
Item = TypeVar("Item")
LIMIT = IntParameter("limit", 1, 100, default=20, meaning="how many at most")
_AFTER = "the `next` of the page before; absent for the first page"
AFTER = TextParameter("after", 64, _AFTER)
# Of a list whose places are texts.
AFTER_TEXT = TextParameter("after", 256, _AFTER)
_NO_PLACE = {AFTER.name: "is no `next` of this list"}


class Cursors:
    """Signs places under the first key and accepts them under any, so that keys can be rotated.

    Args:
        keys: secrets of 32 bytes or more, newest first.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        # A key of its own, so that a signature made for another purpose is never a cursor.
        self._keys = [hmac.digest(key, b"tidings.cursors.1", "sha256") for key in keys]

    def sign(self, name: str, reader_id: int, place: Place) -> str:
        """The word for a place in this list of this reader."""
        return self._sign(name, reader_id, _PLACE.pack(*place))

    def sign_text(self, name: str, reader_id: int, place: str) -> str:
        """The same for a place that is told by a text."""
        return self._sign(name, reader_id, place.encode())

    def cut(
        self,
        name: str,
        reader_id: int,
        found: Sequence[Item],
        *,
        limit: int,
        place: Callable[[Item], Place],
    ) -> tuple[Sequence[Item], str | None]:
        """A page of what was found, and the word for what follows; None if nothing does.

        Args:
            found: was looked for with a limit of one more.
            place: of an item.
        """
        page = found[:limit]
        if len(page) == len(found):
            return page, None
        return page, self.sign(name, reader_id, place(page[-1]))

    def read(self, name: str, reader_id: int, word: str) -> Place | None:
        """The place of a word; None for no word.

        Raises:
            InvalidRequestError: it was not given out for this list of this reader.
        """
        if not word:
            return None
        body = self._open(name, reader_id, word)
        if len(body) != _PLACE.size:
            raise InvalidRequestError(_NO_PLACE)
        since_ms, kind, id_ = _PLACE.unpack(body)
        return since_ms, kind, id_

    def read_text(self, name: str, reader_id: int, word: str) -> str | None:
        """The same for a place that is told by a text."""
        return self._open(name, reader_id, word).decode() if word else None

    def _sign(self, name: str, reader_id: int, body: bytes) -> str:
        signed = body + _mac(self._keys[0], name, reader_id, body)
        return base64.urlsafe_b64encode(signed).decode()

    def _open(self, name: str, reader_id: int, word: str) -> bytes:
        try:
            raw = base64.b64decode(word, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        fits = [hmac.compare_digest(_mac(key, name, reader_id, body), mac) for key in self._keys]
        if not any(fits):
            raise InvalidRequestError(_NO_PLACE)
        return body


def _mac(key: bytes, name: str, reader_id: int, body: bytes) -> bytes:
    return hmac.digest(key, f"{name}:{reader_id}:".encode() + body, "sha256")[:_MAC_BYTES]
