"""Puts together what a node is behind its sockets, and names what of it runs by itself.

Each of its loops is a coroutine of its own, so that a database that is away stops none that needs
Redis alone, and the other way round. Rejected: to make these parts where the sockets are made; one
function would be two screens long.

    parts = make_parts(engine=engine, redis=redis, sessions=sessions, ...)
    door = Door(host=parts.talk, ...)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis import Redis
from sqlalchemy import Engine

from services.chat.bus import Bus
from services.chat.changes import WORKERS, Changes
from services.chat.desk import Desk
from services.chat.hub import Hub
from services.chat.presence import PresenceBoard
from services.chat.publisher import Publisher
from services.chat.revoking import KeySweep
from services.chat.sessions import Sessions
from services.chat.sse import Events
from services.chat.talking import Talk
from services.chat.watched import Watched
from services.chat.window import Window
from services.chat.withdrawing import FollowSweep
from services.chat.writer import Writer
from tidings.store.keys import BUS
from tidings.talk.asked import asking
from tidings.talk.outbox import telling

# The writer's, the outbox's, and those of the sweeps of keys and of who follows readers.
OWN_CONNECTIONS = 4
# 20,000 entries of 400 bytes take 8 MiB; what is longer makes the window shorter.
MOST_KEPT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a node is made of.

    Attributes:
        engine: for all that stores something here, so that it is told at once.
        beside: what runs by itself, to be started after the fork.
    """

    engine: Engine
    bus: Bus
    talk: Talk
    writer: Writer
    presence: PresenceBoard
    events: Events
    beside: Sequence[Watched]


def make_parts(
    *,
    engine: Engine,
    own_engine: Engine,
    redis: Redis,
    sessions: Sessions,
    make_desk: Callable[[Engine], Desk],
    sweep_every_s: float,
) -> Parts:
    """Nothing connects yet.

    Args:
        engine: for what readers ask for.
        own_engine: for OWN_CONNECTIONS of this node's own, so that messages wait behind nothing.
        sessions: all sockets whose reader is known; streams of events become some of them.
        make_desk: the editors' desk, given the engine that stores its answers.
        sweep_every_s: how often keys, and who follows readers, are looked at again.
    """
    hub = Hub(Window(most=BUS.most, most_bytes=MOST_KEPT_BYTES))
    bus = Bus(redis, hub, most_kept=BUS.most, most_kept_bytes=MOST_KEPT_BYTES)
    publisher = Publisher(own_engine, bus)
    told = telling(engine, publisher.tell)
    desk = make_desk(told)
    writer = Writer(asking(telling(own_engine, publisher.tell), desk.ask))
    changes = Changes()
    presence = PresenceBoard(redis, hub, publisher, node=secrets.token_hex(8))
    talk = Talk(
        engine=told,
        hub=hub,
        writer=writer,
        publisher=publisher,
        presence=presence,
        changes=changes,
    )
    sweep = KeySweep(own_engine, sessions, every_s=sweep_every_s)
    follows = FollowSweep(own_engine, hub, every_s=sweep_every_s)
    return Parts(
        engine=told,
        bus=bus,
        talk=talk,
        writer=writer,
        presence=presence,
        events=Events(talk, sessions),
        beside=[
            Watched("bus", bus.read),
            Watched("writer", writer.write),
            Watched("publisher", publisher.publish),
            Watched("outbox", publisher.gather),
            Watched("presence", presence.look),
            Watched("keys", sweep.look),
            Watched("follows", follows.look),
            Watched("desk", desk.look),
            *[Watched(f"changes-{number}", changes.work) for number in range(WORKERS)],
        ],
    )
