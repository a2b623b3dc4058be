"""The chat's composition root: a door for sockets, a Falcon app for all else, and what runs beside
them.

    chat = create_chat(settings)
    chat.start()
    chat(environ, start_response)  # it is a WSGI application
    chat.stop()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from services.chat.addresses import Addresses
from services.chat.bodies import TimedBody
from services.chat.counts import LOOP_BLOCKED
from services.chat.desk import make_desk
from services.chat.door import Door
from services.chat.giving_way import give_way
from services.chat.heartbeat import Heartbeat
from services.chat.parts import OWN_CONNECTIONS, make_parts
from services.chat.rest.app import create_rest
from services.chat.sessions import Sessions
from services.chat.shedding import shed
from services.chat.watched import Watched
from tidings.http.cursors import Cursors
from tidings.http.limits import make_quotas
from tidings.http.origins import Origins, find_chat_origins
from tidings.http.proxies import Proxies
from tidings.http.reader_id import ReaderSigner
from tidings.process.settings import Settings, read_secret_keys
from tidings.readers.checking import KeyCheck
from tidings.readers.tickets import Tickets
from tidings.store.engine import make_engine
from tidings.store.redis import make_redis
from tidings.store.windows import SlidingWindows

SOCKET_PATH = "/ws"
# Longer without a word from the bus, and other nodes tell their readers what this one does not.
STALE_S = 5.0
_LOOK_S = 0.1
_BLOCKED_S = 0.1

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Chat:
    """A WSGI application, and what runs beside it.

    Args:
        rest: answers what is no handshake.
        beside: work that never ends.
        is_ready: may it be given sockets.
        body_s: time for the body of a request.
    """

    def __init__(
        self,
        *,
        door: Door,
        rest: WsgiApp,
        proxies: Proxies,
        beside: Sequence[Watched],
        is_ready: Callable[[], bool],
        body_s: float,
        shed_per_s: int,
    ) -> None:
        self.door = door
        self._rest = rest
        self._proxies = proxies
        self._beside = beside
        self.is_ready = is_ready
        self._body_s = body_s
        self._shed_per_s = shed_per_s

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        self._proxies.settle(environ)
        if environ["PATH_INFO"] == SOCKET_PATH:
            return self.door.open(environ, start_response)
        environ["wsgi.input"] = TimedBody(environ["wsgi.input"], self._body_s)
        return self._rest(environ, start_response)

    def start(self) -> None:
        """Begin what runs beside it; in the worker, after the fork."""
        for watched in self._beside:
            watched.start()

    def stop(self) -> None:
        """Give no more sockets, let go of those there are, and end what runs beside them."""
        shed(self.door, self._shed_per_s)
        for watched in self._beside:
            watched.stop()


def create_chat(settings: Settings) -> Chat:
    """Everything a worker holds, with the app on top of it."""
    keys, redis = read_secret_keys(settings.site), make_redis(settings.redis)
    origins = find_chat_origins(settings)
    proxies = Proxies(settings.gateway.trusted_proxies)
    engine, sessions = make_engine(settings.database), Sessions()
    own_database = settings.database.model_copy(update={"pool_size": OWN_CONNECTIONS})
    own_engine = make_engine(own_database)
    give_way(engine)
    give_way(own_engine)
    parts = make_parts(
        engine=engine,
        own_engine=own_engine,
        redis=redis,
        sessions=sessions,
        make_desk=partial(make_desk, settings, redis),
        sweep_every_s=settings.chat.ping_every_s,
    )
    door = Door(
        admit=Tickets(keys, redis).admit,
        host=parts.talk,
        sessions=sessions,
        addresses=Addresses(settings.chat.connections_per_address, proxies.believes),
        origins=origins,
        most=settings.chat.max_connections,
        half_open=settings.chat.half_open,
        within_s=settings.chat.hello_s,
    )
    heartbeat = Heartbeat(
        door, ping_every_s=settings.chat.ping_every_s, dead_after_s=settings.chat.dead_after_s
    )
    beside = [
        Watched("heartbeat", heartbeat.beat),
        Watched("lines", Looking(door).look),
        *parts.beside,
    ]

    def is_ready() -> bool:
        is_well = all(watched.is_well for watched in beside)
        return not door.is_stopping and is_well and parts.bus.age_s < STALE_S

    return Chat(
        door=door,
        rest=create_rest(
            engine=parts.engine,
            send=parts.writer.send_and_wait,
            present=parts.presence.who_is_here,
            events=parts.events,
            signer=ReaderSigner(keys),
            keys=KeyCheck(engine),
            cursors=Cursors(keys),
            windows=SlidingWindows(redis, settings.gateway.limit_window_s),
            quotas=make_quotas(settings),
            origins=Origins(settings.site.url, origins),
            deadline_ms=settings.gateway.deadline_ms,
            is_ready=is_ready,
        ),
        proxies=proxies,
        beside=beside,
        is_ready=is_ready,
        body_s=settings.chat.hello_s,
        shed_per_s=settings.chat.shed_per_s,
    )


class Looking:
    """Looks after the lines at the door ten times a second, and sees by it how long all waited for
    one that did not let the others run."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def look(self) -> None:
        """One round."""
        before_s = time.monotonic()
        time.sleep(_LOOK_S)
        blocked_s = time.monotonic() - before_s - _LOOK_S
        if blocked_s > _BLOCKED_S:
            LOOP_BLOCKED.observe(blocked_s)
            # What came meanwhile is heard first: a client is not late because this node was. Once
            # more, since of what is due at one instant gevent takes timers before sockets.
            time.sleep(_LOOK_S)
            time.sleep(0)
        self._door.look()
