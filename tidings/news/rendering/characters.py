"""What a document can hold, and how an address is written in it.

All but controls, surrogates and noncharacters, which are errors in HTML and most of them in XML,
where one of them makes a whole feed unreadable. Rejected: to refuse an article for one; it reads
well without.

    address_of("articles/42.html")  # "/articles/42"
    speakable("a\\x0bb")  # "ab"
"""

from __future__ import annotations

import re
from urllib.parse import quote

# The common ranges come first: this looks at every character of the site.
_UNSPEAKABLE = re.compile(
    "[^\\n\\t -~\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd"
    + "".join(f"{chr(plane)}-{chr(plane + 0xFFFD)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)


def speakable(text: str) -> str:
    """Without what no document can hold."""
    return _UNSPEAKABLE.sub("", text)


def address_of(path: str) -> str:
    """The address of a file below the root. A page's has no ending: the web server, or the
    gateway, finds its file."""
    return "/" + quote(path.removesuffix("index.html").removesuffix(".html"))
