"""In which language the desk answers: the one that it was asked in.

A message with one Chinese character is Chinese, since Chinese readers write names of channels and
of products in Latin letters, and readers of English write none of the other. Rejected: the
browser's `Accept-Language`; it is not known to a message, and says little of what a reader writes.

    language_of("what is new")  # "en"
"""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["zh", "en"]

_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def language_of(text: str) -> Language:
    """The language of a message."""
    return "zh" if _CHINESE.search(text) else "en"
