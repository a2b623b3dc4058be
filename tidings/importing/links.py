"""Makes what a feed writes as an address into one that can be followed.

What is absolute stays as it is written, letter by letter: by it the article is found again.
Rejected: normalising, which every library does in its own way, and differently in its next release.

    http_address("/news/1", "https://harbour.example/")  # "https://harbour.example/news/1"
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

# What a URI begins with.
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# What copying brings along, and what no address begins or ends with.
_UNSEEN = "\u200b\u200e\u200f\u2060\ufeff"
_REGISTERED = "http://www.iana.org/assignments/relation/"


def http_address(written: object, base: str | None) -> str | None:
    """An http or https address, absolute, with its spaces escaped; None if it is none.

    Args:
        written: what stands where an address should.
        base: what a relative one is relative to.
    """
    if not isinstance(written, str) or not (text := written.strip().strip(_UNSEEN).strip()):
        return None
    try:
        address = text if SCHEME.match(text) or not base else urljoin(base, text)
        parts = urlsplit(address)
        usable = parts.scheme.lower() in ("http", "https") and parts.hostname
    except ValueError:
        return None
    return _SPACE.sub("%20", address) if usable else None


def is_page(rel: str) -> bool:
    """Whether a link of this relation leads to what the entry or the feed is about (RFC 4287,
    4.2.7.2)."""
    return rel.strip().lower().removeprefix(_REGISTERED) in ("", "alternate")
