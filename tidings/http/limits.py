"""How much one reader, one program and one address may ask of the door, and how many new readers
one address is given.

A resource names the class of its work, and each class has a quota a window: of its reader and of
the address it comes from, where many readers may sit behind one; or of the key that a program
shows. Answers tell what is left in the fields of draft-ietf-httpapi-ratelimit-headers-11; a request
too many is a 429 with `Retry-After`. Ids cost nothing to make up, so an address gets a budget of
new ones: beyond it no reader is made, and feeds come from the steps that record nothing. All
of it is one question to Redis. Where Redis is away the door stays open, which is counted. Rejected:
counts in each worker's memory, which give every client as many quotas as there are workers.

    limits = Limits(SlidingWindows(redis, window_s=60), make_quotas(settings))
    app.add_middleware(limits)
    address_network("2001:db8::7"), address_network("::ffff:192.0.2.1")
    # ("2001:db8::/64", "192.0.2.1")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NoReturn

import falcon
import structlog
from prometheus_client import Counter
from redis import RedisError

from tidings.http.caller import Caller
from tidings.http.errors import QuotaExceededError
from tidings.process.breaker import Breaker
from tidings.process.settings import Settings
from tidings.store.keys import LIMITS_OF_ADDRESS, LIMITS_OF_KEY, LIMITS_OF_READER
from tidings.store.windows import Room, SlidingWindows, Window

# One time-out of Redis costs a request half a second, so the first is enough.
REST_S = 1.0
# An IPv6 network's number is its upper half above this, apart from every IPv4 address.
_IPV6 = 2**64
_NEW_READERS, _SIGN_IN = "new-readers", "sign-in"

LIMITED = Counter(
    "tidings_requests_limited", "Requests refused since a quota was used up", ["limit", "policy"]
)
OPENED = Counter(
    "tidings_limits_opened", "Requests let through uncounted since Redis did not answer"
)
UNMINTED = Counter(
    "tidings_new_readers_refused", "Requests whose address had used up its budget of new readers"
)
log = structlog.get_logger(__name__)


class LimitClass(StrEnum):
    """Kinds of work; the names stand in Redis for a minute. A resource says which it does as
    `limit_class`, for all of its methods or by method."""

    FEED = "feed"
    REPORT = "report"
    WRITE = "write"
    ORDER = "order"
    CHAT_READ = "chat-read"
    CHAT_WRITE = "chat-write"
    SIGN_IN = "sign_in"  # an address showed a key that opens no door


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How often a window, 0 being no limit.

    Attributes:
        of_reader: by class, of one reader; of the class `sign_in`, of one address.
        address_times: so many times that of one address.
        key_times: so many times that of one key of a program.
        new_readers: how many ids one address is given.
    """

    of_reader: Mapping[LimitClass, int]
    address_times: int
    key_times: int
    new_readers: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a request: the policies that it was counted under with what is left of each,
    the one that refused it if any did, and whether its reader may be given an id."""

    rooms: tuple[tuple[str, int, Room], ...] = ()
    refused_by: int | None = None
    may_mint: bool = True


_OPEN = _Outcome()


class Limits:
    """Falcon middleware, behind what tells who calls; that asks `may_mint` before it makes an id.

    Args:
        windows: count.
        quotas: how much is allowed.
    """

    def __init__(self, windows: SlidingWindows, quotas: Quotas) -> None:
        self._windows = windows
        self._quotas = quotas
        self._breaker = Breaker(opens_after=1, rest_s=REST_S)

    def may_mint(self, req: falcon.Request, resource: object) -> bool:
        """Whether this request may be given a new reader's id. It is counted with that, and not
        once more."""
        outcome = req.context.limited = self._count(req, resource, mints=True)
        if not outcome.may_mint and outcome.refused_by is None:
            UNMINTED.inc()
        return outcome.may_mint

    def count_refused_key(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Count a key that opens no door to its address.

        Raises:
            QuotaExceededError: it is one too many.
        """
        number = address_number(req.env.get("REMOTE_ADDR", ""))
        quota = self._quotas.of_reader.get(LimitClass.SIGN_IN, 0)
        if number is None or not quota:
            return
        window = Window(LIMITS_OF_ADDRESS.of(number), LimitClass.SIGN_IN, quota)
        outcome = self._take([(_SIGN_IN, window)], [])
        if outcome.refused_by is not None:
            self._tell(resp, outcome, outcome.refused_by)
            self._refuse(resp, LimitClass.SIGN_IN, outcome.rooms[outcome.refused_by])

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        _params: dict[str, object],
    ) -> None:
        outcome: _Outcome | None = getattr(req.context, "limited", None)
        if outcome is None:
            outcome = self._count(req, resource, mints=False)
        refused_by = outcome.refused_by
        if refused_by is None and not outcome.may_mint and _needs_one(resource):
            refused_by = len(outcome.rooms) - 1  # the budget of new readers is the last
        if outcome.rooms:
            self._tell(resp, outcome, refused_by)
        if refused_by is not None:
            self._refuse(resp, _class_of(req, resource) or "none", outcome.rooms[refused_by])

    def _refuse(self, resp: falcon.Response, limit: str, full: tuple[str, int, Room]) -> NoReturn:
        policy, quota, room = full
        resp.set_header("Retry-After", str(room.wait_s))
        LIMITED.labels(limit, policy).inc()
        raise QuotaExceededError(
            f"{policy}: {quota} in {self._windows.window_s} s; there is more in {room.wait_s} s"
        )

    def _count(self, req: falcon.Request, resource: object, *, mints: bool) -> _Outcome:
        return self._take(*self._policies(req, resource, mints=mints))

    def _take(self, needed: list[tuple[str, Window]], wished: list[tuple[str, Window]]) -> _Outcome:
        policies = needed + wished
        if not policies:
            return _OPEN
        if not self._breaker.allows():
            OPENED.inc()
            return _OPEN
        try:
            taken = self._windows.take(
                [window for _, window in needed], [window for _, window in wished]
            )
        except RedisError as ex:
            self._breaker.failed()
            OPENED.inc()
            log.warning("limits_opened", error=repr(ex))
            return _OPEN
        self._breaker.succeeded()
        rooms = tuple(
            (policy, window.quota, room)
            for (policy, window), room in zip(policies, taken.rooms, strict=True)
        )
        full = [at for at in range(len(needed)) if not rooms[at][2].has_room]
        return _Outcome(
            rooms,
            # Of several the one that lasts longest: it is no use to come back before.
            max(full, key=lambda at: rooms[at][2].wait_s) if full else None,
            may_mint=not full and all(room.has_room for room in taken.rooms),
        )

    def _policies(
        self, req: falcon.Request, resource: object, *, mints: bool
    ) -> tuple[list[tuple[str, Window]], list[tuple[str, Window]]]:
        """The windows that must have room for this request, and the budget of new ids."""
        needed: list[tuple[str, Window]] = []
        wished: list[tuple[str, Window]] = []
        limit = _class_of(req, resource)
        caller: Caller = req.context.caller
        if caller.key is not None and caller.key.quota is not None:
            # For all that it asks, also where nothing else is counted.
            of_key = LIMITS_OF_KEY.of(caller.key.key_id)
            return [("key", Window(of_key, "all", caller.key.quota))], []
        number = address_number(req.env.get("REMOTE_ADDR", ""))
        quota = 0 if limit is None else self._quotas.of_reader.get(limit, 0)
        if limit is not None and quota:
            if caller.key is not None:
                of_key = LIMITS_OF_KEY.of(caller.key.key_id)
                return [("key", Window(of_key, limit, quota * self._quotas.key_times))], []
            if caller.reader_id is not None:
                of_reader = LIMITS_OF_READER.of(caller.reader_id)
                needed.append(("reader", Window(of_reader, limit, quota)))
            if number is not None:
                of_address = LIMITS_OF_ADDRESS.of(number)
                times = self._quotas.address_times
                needed.append(("address", Window(of_address, limit, quota * times)))
        if mints and number is not None:
            new_readers = Window(LIMITS_OF_ADDRESS.of(number), "new", self._quotas.new_readers)
            wished.append((_NEW_READERS, new_readers))
        needed, wished = ([one for one in some if one[1].quota] for some in (needed, wished))
        return needed, wished

    def _tell(self, resp: falcon.Response, outcome: _Outcome, refused_by: int | None) -> None:
        """Every policy, and what is left of the one that ends first. What is left of the others
        says how busy a neighbour is."""
        rooms = outcome.rooms
        told = refused_by
        if told is None:
            told = min(range(len(rooms)), key=lambda at: rooms[at][2].left)
        policy, _, room = rooms[told]
        resp.set_header("RateLimit", f'"{policy}";r={room.left};t={room.wait_s}')
        names = tuple((policy, quota) for policy, quota, _ in rooms)
        resp.set_header("RateLimit-Policy", _write_policies(names, self._windows.window_s))


def make_quotas(settings: Settings) -> Quotas:
    """The quotas as they are set."""
    gateway, chat = settings.gateway, settings.chat
    return Quotas(
        of_reader={
            LimitClass.FEED: gateway.limit_feed,
            LimitClass.REPORT: gateway.limit_report,
            LimitClass.WRITE: gateway.limit_write,
            LimitClass.ORDER: gateway.limit_order,
            LimitClass.CHAT_READ: chat.limit_read,
            LimitClass.CHAT_WRITE: chat.limit_write,
            LimitClass.SIGN_IN: gateway.limit_sign_in,
        },
        address_times=gateway.limit_address_times,
        key_times=gateway.limit_key_times,
        new_readers=gateway.limit_new_readers,
    )


@lru_cache(maxsize=4096)
def address_network(address: str) -> str:
    """What counts as one address: an IPv4 address itself, also where it is written as an IPv6 one,
    and of IPv6 the network of 64 bits, which one subscriber has all of. What is no address stays as
    it is: the peer of a unix socket has none."""
    found = _parse(address)
    if found is None:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"


@lru_cache(maxsize=4096)
def address_number(address: str) -> int | None:
    """`address_network` as the number that keys name it by; None for what is no address."""
    found = _parse(address_network(address).removesuffix("/64"))
    if found is None:
        return None
    return int(found) if isinstance(found, IPv4Address) else _IPV6 + (int(found) >> 64)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=256)
def _write_policies(policies: tuple[tuple[str, int], ...], window_s: int) -> str:
    return ", ".join(f'"{policy}";q={quota};w={window_s}' for policy, quota in policies)


def _class_of(req: falcon.Request, resource: object) -> LimitClass | None:
    limit: LimitClass | Mapping[str, LimitClass] | None = getattr(resource, "limit_class", None)
    # A preflight does none of the work.
    if limit is None or req.method == "OPTIONS":
        return None
    if isinstance(limit, LimitClass):
        return limit
    return limit.get("get" if req.method == "HEAD" else req.method.lower())


def _needs_one(resource: object) -> bool:
    """Whether this resource does nothing without a reader."""
    return not getattr(resource, "serves_nobody", False)
