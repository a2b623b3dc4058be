"""Which topics there are, and who may follow them.

`article:42` is for everybody, `operator` for keys of that role, and `presence:9` for who shares a
conversation with reader 9, which SQL knows. Rejected: any name; a client could fill a node with
topics on which nothing is ever said.

    read_topic("article:42", Role.READER)
"""

from __future__ import annotations

import re

from services.chat.hosting import RefusedError
from tidings.readers.keys import Role
from tidings.store.metadata import MOST_ID
from tidings.talk.events import OPERATOR

_ARTICLE = re.compile(r"article:[1-9]\d{0,18}", re.ASCII)
_PRESENCE = re.compile(r"presence:([1-9]\d{0,18})", re.ASCII)


def read_topic(topic: str, role: Role | None) -> int | None:
    """Check a topic: returns the reader whose presence it is, where SQL has still to be asked; None
    where it may be followed.

    Raises:
        RefusedError: there is no such topic, or it is not for this role.
    """
    if topic == OPERATOR:
        if role is None or not role.covers(Role.OPERATOR):
            raise RefusedError("not_yours", "this topic is for operators")
        return None
    if _ARTICLE.fullmatch(topic):
        return None
    found = _PRESENCE.fullmatch(topic)
    # A larger number is an error of the database's driver, and no reader's.
    if found is None or int(found[1]) > MOST_ID:
        raise RefusedError("invalid", "there is no such topic")
    return int(found[1])
