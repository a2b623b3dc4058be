"""The author of an entry, by the name that may stand under its title.

Feeds write names with addresses, markup and whole lists of authors. The first one signs; an address
of an e-mail without a name is not published, since its owner gave it to a program and not to
readers. Rejected: feedparser's own splitting, which keeps markup and shows the address of what it
does not understand.

    clean_author("ada@harbour.example (Ada First)")  # "Ada First"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tidings.importing.bodies import plain_text
from tidings.importing.parts import parts, text
from tidings.news.storing import LENGTHS

# Longer than any list of authors; what stands in an article's place is not looked through.
_MAX_CHARS = 10_000
# It begins where a word does: looking for its "@" from every letter of a long one is quadratic.
_ADDRESS = r"(?<![^\s@<>()\[\],;])[^\s@<>()\[\],;]++@[^\s@<>()\[\],;]+|https?://[^\s<>()\[\]]+"
_LONE_ADDRESS = re.compile(_ADDRESS)
_BRACKETED_ADDRESS = re.compile(rf"[<(\[]\s*+(?:(?:{_ADDRESS})\s*+)?[>)\]]")
_BRACKETED_NAME = re.compile(r"\s*\(([^()]*)\)\s*")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|&#?\w+;")


def first_author(holder: Mapping[str, Any]) -> str | None:
    """The first author of an entry or a feed who has a name; None if none has.

    Args:
        holder: feedparser's dictionary of it.
    """
    return next((name for written in _written(holder) if (name := clean_author(written))), None)


def clean_author(written: str) -> str | None:
    """The name in what was written as an author; None if there is none."""
    named = _BRACKETED_ADDRESS.sub(" ", written[:_MAX_CHARS])
    if _MARKUP.search(named):
        named = plain_text(named)
    named = _LONE_ADDRESS.sub(" ", named)
    if bracketed := _BRACKETED_NAME.fullmatch(named):
        named = bracketed[1]
    name = _first_of_list(" ".join(named.split()).strip(" ,;:|-"))
    return name if any(char.isalnum() for char in name) else None


def _written(holder: Mapping[str, Any]) -> Iterator[str]:
    for author in parts(holder, "authors"):
        yield text(author, "name")
    yield text(holder, "author")


def _first_of_list(names: str) -> str:
    """The first of several; "Sail, Ada" and "Smith, Sons" are one name."""
    names = _before(";", names)
    if names.count(",") > 1 or len(names) > LENGTHS.author:
        names = _before(",", names)
    return names[: LENGTHS.author].rstrip()


def _before(mark: str, names: str) -> str:
    return next((name.strip() for name in names.split(mark) if name.strip()), "")
