"""What feedparser keeps of an entry under a name, if it is what should stand there.

An element that it does not know is kept under its own name, so that a feed with an element called
`links` or `authors` has a text where every other has a list. Rejected: catching whatever comes of
that further on, where nothing can be told of it.

    parts({"authors": "Ada"}, "authors")  # []
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Part = Mapping[str, Any]


def parts(holder: Mapping[str, Any], name: str) -> list[Part]:
    """The parts under a name, as dictionaries; none if something else stands there."""
    # Not holder.get, which on feedparser's dictionaries makes some names out of others.
    found = dict.get(holder, name) if isinstance(holder, dict) else None
    return [part for part in found if isinstance(part, Mapping)] if isinstance(found, list) else []


def part(holder: Mapping[str, Any], name: str) -> Part:
    """The dictionary under a name; an empty one if something else stands there."""
    found = dict.get(holder, name) if isinstance(holder, dict) else None
    return found if isinstance(found, Mapping) else {}


def text(holder: Mapping[str, Any], name: str) -> str:
    """The text under a name; empty if something else stands there."""
    found = dict.get(holder, name) if isinstance(holder, dict) else None
    return found if isinstance(found, str) else ""
