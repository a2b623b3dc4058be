"""Whether an answer travels as gzip, by what the client said it takes.

Answers over 1 KiB are packed when asked, so that a phone fetches half. What BREACH needs is not
here: it guesses a secret beside what the attacker had reflected, by the length of many answers. The
lasting secret of a reader travels in headers, which are not packed; the tokens of a feed are new in
each batch, and no answer that holds tokens repeats what was asked; problems repeat it, and hold no
secret. Rejected: brotli and zstd, a package more for a tenth of the bytes; a proxy can add them.

    coding_for("br, gzip;q=0.8")  # Coding.GZIP_IF_LONG
"""

from __future__ import annotations

import re
import zlib
from enum import Enum
from functools import lru_cache

# Below it an answer fits one packet of the network either way.
LONG_BYTES = 1024
PACKED_TYPES = (
    *("application/json", "application/problem+json", "text/", "image/svg+xml"),
    *("application/atom+xml", "application/rss+xml"),
)
_ELEMENT = re.compile(
    r"\s*(?P<name>[!-+\--:<-~]+)\s*(?:;\s*q=(?P<weight>0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?",
    re.ASCII | re.IGNORECASE,
)
# zlib clears its window and tables for each answer, which at the usual sizes takes longer than to
# pack 8 KiB: 8 KiB of window cost 80 us where the usual 32 cost 170, for the same 3.6 KB.
_LEVEL, _WINDOW, _MEMORY = 3, 16 + 13, 7


class Coding(Enum):
    """How a client wants its answers."""

    PLAIN = "plain"
    GZIP_IF_LONG = "gzip if long"
    GZIP = "gzip"


@lru_cache(maxsize=256)  # There are a dozen browsers; a client that sends others pays the parsing.
def coding_for(accepted: str) -> Coding:
    """What an `Accept-Encoding` asks for (RFC 9110, 12.5.3).

    A client that excludes plain answers and does not take gzip either is answered in plain all the
    same: an answer that it may be able to read is better than none.
    """
    weights: dict[str, float] = {}
    for element in accepted.lower().split(","):
        found = _ELEMENT.fullmatch(element)
        if found:
            weights[found["name"].removeprefix("x-")] = float(found["weight"] or 1)
    others = weights.get("*")
    gzip = weights.get("gzip", others or 0.0)
    if not gzip or gzip < weights.get("identity", 0.0):
        return Coding.PLAIN
    plain_is_refused = weights.get("identity", others) == 0
    return Coding.GZIP if plain_is_refused else Coding.GZIP_IF_LONG


def pack(body: bytes) -> bytes:
    """The body as gzip; the same bytes for the same body."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
    return packer.compress(body) + packer.flush()
