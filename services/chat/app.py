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
from typing import Any

import falcon

from services.chat.addresses import Addresses
from services.chat.counts import LOOP_BLOCKED
from services.chat.door import Door
from services.chat.frames import ClientFrame, Unread, Welcome
from services.chat.heartbeat import Heartbeat
from services.chat.hosting import Host, RefusedError, Socket
from services.chat.rest.app import create_rest
from services.chat.sessions import Sessions
from services.chat.shedding import shed
from services.chat.watched import Watched
from tidings.http.cursors import Cursors
from tidings.http.errors import NotReadyError, OverloadedError
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
from tidings.talk.sending import Refused, Sent
from tidings.talk.sending import Send as SendToStore

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
    """

    def __init__(
        self,
        *,
        door: Door,
        rest: WsgiApp,
        proxies: Proxies,
        beside: Sequence[Watched],
        is_ready: Callable[[], bool],
        shed_per_s: int,
    ) -> None:
        self.door = door
        self._rest = rest
        self._proxies = proxies
        self._beside = beside
        self.is_ready = is_ready
        self._shed_per_s = shed_per_s

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        self._proxies.settle(environ)
        if environ["PATH_INFO"] == SOCKET_PATH:
            return self.door.open(environ, start_response)
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
    host: Host = _Deaf()
    door = Door(
        admit=Tickets(keys, redis).admit,
        host=host,
        sessions=Sessions(),
        addresses=Addresses(settings.chat.connections_per_address, proxies.believes),
        origins=origins,
        most=settings.chat.max_connections,
        half_open=settings.chat.half_open,
        within_s=settings.chat.hello_s,
    )
    heartbeat = Heartbeat(
        door, ping_every_s=settings.chat.ping_every_s, dead_after_s=settings.chat.dead_after_s
    )
    beside = [Watched("heartbeat", heartbeat.beat), Watched("lines", Looking(door).look)]

    def is_ready() -> bool:
        return not door.is_stopping and host.bus_age_s() < STALE_S

    return Chat(
        door=door,
        rest=create_rest(
            engine=make_engine(settings.database),
            send=_send_nothing,
            present=lambda reader_ids: set(),
            events=_NoEvents(),
            signer=ReaderSigner(keys),
            keys=KeyCheck(make_engine(settings.database)),
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
        self._door.look()


class _NoEvents:
    """In the place of the stream of events until there is a hub."""

    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise NotReadyError("there is no hub yet")


def _send_nothing(_send: SendToStore) -> Sent | Refused:
    raise OverloadedError("there is no hub yet")


class _Deaf:
    """Stands behind the sockets until there is a hub: it welcomes, and does nothing else."""

    def join(self, session: Socket, pos: str | None, topics: Sequence[str]) -> None:
        del pos, topics
        unread = Unread(conversations=0, notices=0)
        session.say(
            Welcome(reader_id=session.reader_id, pos="0.0-0", recovered=False, unread=unread)
        )

    def take(self, session: Socket, frame: ClientFrame) -> None:
        del session, frame
        raise RefusedError("unavailable", "there is no hub yet")

    def leave(self, session: Socket) -> None:
        del session

    def bus_age_s(self) -> float:
        return 0.0
