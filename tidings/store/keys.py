"""Every key in Redis: its shape, what it holds, how long it lives and how large it gets.

One table, so that an operator can read what a full Redis is full of, and a key without an end is
seen here before it is seen there. A key that belongs to a reader carries the reader's number as its
hash tag, so that one script can change several in a Cluster; all others stand alone. All begin with
`t1:`, and a value of a new shape takes the next number, `t2:`: old and new processes share one
Redis during an upgrade. Rejected: a shape in each module that uses it; they stood in six, and in no
list.

    SEEN.of(7)  # "t1:{7}:seen"
    redis.expire(VERSION.of(7), FIRST_VISIT_S)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

DAY_S = 24 * 3600
# A first visit is kept so long: a person reads an article in that time and asks for the next.
FIRST_VISIT_S = 600
_PLACE = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A row of the table: a kind of key.

    Attributes:
        shape: the key, with `<names>` where its numbers stand.
        kind: what it is in Redis; a `channel` carries messages and keeps none.
        holds: what for, in a few words.
        ttl_s: how long it lives after it was last written; 0 if a setting says so, or for ever.
        ttl_setting: the setting that says how long, in the unit of its last word.
        ttl_spread: entries live so much longer or shorter, as a share, so that what was written
            together does not end together.
        most: how large it gets: bytes of a string or of a hash's values, members of a set, entries
            of a stream.
        most_setting: the setting that `most` is to be multiplied with.
    """

    shape: str
    kind: Literal["string", "hash", "list", "zset", "stream", "channel"]
    holds: str
    ttl_s: int = 0
    ttl_setting: str = ""
    ttl_spread: float = 0.0
    most: int
    most_setting: str = ""
    _format: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_format", _PLACE.sub("%d", self.shape))

    def of(self, *numbers: int) -> str:
        """The key itself, with these numbers in its places."""
        return self._format % numbers


READER = Key(
    shape="t2:{<reader>}:reader",
    kind="hash",
    holds="what the reader was shown, did and hid",
    ttl_setting="READER_TTL_DAYS",
    most=16 * 1024,
)
VERSION = Key(
    shape="t1:{<reader>}:version",
    kind="string",
    holds="the stamp of the reader's newest batch",
    ttl_setting="READER_TTL_DAYS",
    most=20,
)
# Workers of the release before keep readers under these two, and must see what others showed. Their
# bounds were those of that release's settings.
SEEN = Key(
    shape="t1:{<reader>}:seen",
    kind="string",
    holds="for workers of the release before: the ids of what the reader was shown, 8 bytes each",
    ttl_setting="READER_TTL_DAYS",
    most=8 * 5000,
)
HISTORY = Key(
    shape="t1:{<reader>}:history:<channel>",
    kind="zset",
    holds="for workers of the release before: the reader's batches in a channel",
    ttl_setting="READER_TTL_DAYS",
    most=500,
)
POPULAR = Key(
    shape="t1:popular:<channel>",
    kind="zset",
    holds="a channel's ranking",
    ttl_s=DAY_S,
    most=200,
)
BEHAVIOUR = Key(
    shape="t1:behaviour",
    kind="stream",
    holds="events of gateways of the release before, until they are moved to the log",
    most=1,
    most_setting="BEHAVIOUR_BACKLOG",
)
BEHAVIOUR_LOG = Key(
    shape="t2:{behaviour}:log",
    kind="stream",
    holds="what readers did: what SQL has not taken in yet, and the ten minutes before",
    most=2,
    most_setting="BEHAVIOUR_BACKLOG",
)
BEHAVIOUR_WAITING = Key(
    shape="t2:{behaviour}:waiting",
    kind="string",
    holds="how many events of the log SQL has not taken in yet",
    most=20,
)
BEHAVIOUR_FLOORS = Key(
    shape="t2:{behaviour}:floors",
    kind="list",
    holds="up to where SQL had the log, minute by minute",
    most=11,
)
DEAD_BEHAVIOUR = Key(
    shape="t1:behaviour:dead",
    kind="stream",
    holds="entries that could not be read, the newest ones",
    most=10_000,
)
CARD = Key(
    shape="t1:card:<article>",
    kind="string",
    holds="an article as a feed shows it",
    ttl_setting="CARD_TTL_S",
    ttl_spread=0.1,
    most=64 * 1024,
)
# Workers of the release before call it so: each must see what the other takes down.
WHOLE_ARTICLE = Key(
    shape="t1:page:<article>",
    kind="string",
    holds="a whole article",
    ttl_setting="CARD_TTL_S",
    ttl_spread=0.1,
    most=4 * 1024 * 1024,
)
# All limits share one tag, since one script counts a request for its reader or key, and its address
# at once: in a Cluster they lie on one node, for a minute each.
LIMITS_OF_READER = Key(
    shape="t1:{limits}:reader:<reader>",
    kind="hash",
    holds="what a reader asked for in the last minute, by class",
    ttl_setting="GATEWAY_LIMIT_WINDOW_S",
    ttl_spread=0.17,
    most=512,
)
LIMITS_OF_KEY = Key(
    shape="t1:{limits}:key:<key>",
    kind="hash",
    holds="the same of a program's or a person's key",
    ttl_setting="GATEWAY_LIMIT_WINDOW_S",
    ttl_spread=0.17,
    most=512,
)
LIMITS_OF_ADDRESS = Key(
    shape="t1:{limits}:address:<network>",
    kind="hash",
    holds="the same of an address, and how many readers it was given",
    ttl_setting="GATEWAY_LIMIT_WINDOW_S",
    ttl_spread=0.17,
    most=512,
)
TICKET = Key(
    shape="t1:ticket:<ticket>",
    kind="string",
    holds="for whom a ticket for the chat was issued, until it is used",
    ttl_s=60,
    most=64,
)
# All keys of the bus share one tag: what a node asks at once lies on one node of a Cluster.
BUS = Key(
    shape="t1:{talk}:bus",
    kind="stream",
    holds="what the nodes of the chat tell those who are connected, the newest entries",
    most=20_000,
)
BUS_EPOCH = Key(
    shape="t1:{talk}:epoch",
    kind="string",
    holds="a random text: with another one, places on the bus mean something else",
    most=16,
)
HERE = Key(
    shape="t1:{<reader>}:here",
    kind="string",
    holds="that a reader is connected to the chat, and to which node",
    ttl_s=75,
    most=16,
)
WATCHED = Key(
    shape="t1:{<reader>}:watched",
    kind="string",
    holds="that a reader's comings and goings are told to someone",
    ttl_s=75,
    most=1,
)
JOBS_DUE = Key(
    shape="t1:jobs:due",
    kind="channel",
    holds="hints that a delayed job is due soon",
    most=0,
)

# Every row above, so that none is left out.
KEYS = tuple(value for value in list(vars().values()) if isinstance(value, Key))
