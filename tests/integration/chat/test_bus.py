"""The bus over a real Redis: order, and that nothing is lost without being noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from redis import Redis, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from services.chat import bus as bus_module
from services.chat.app import STALE_S
from services.chat.bus import Bus
from services.chat.hub import BusEntry
from services.chat.positions import Position
from tests.conftest import MakeSettings
from tests.lab.servers import start_redis, wait_until
from tidings.store.keys import BUS
from tidings.store.redis import make_redis
from tidings.talk.events import Entry


class Follower:
    """Writes down what it is told, in the order in which it is told."""

    def __init__(self) -> None:
        self.most = BUS.most
        self.starts: list[tuple[str, list[bytes]]] = []
        self.heard: list[bytes] = []
        self.positions: list[Position] = []

    def restart(self, position: Position, kept: Sequence[BusEntry], reason: str) -> None:
        self.positions.append(position)
        self.starts.append((reason, [entry.stamp for entry in kept]))

    def deliver(self, entries: Sequence[BusEntry]) -> None:
        self.heard += [entry.stamp for entry in entries]

    def capacity(self) -> int:
        return self.most


def rows(*numbers: int) -> list[tuple[str, Entry]]:
    return [(f"{number}.0", Entry(b'{"type":"deleted"}', "7")) for number in numbers]


def stamps(*numbers: int) -> list[bytes]:
    return [b"%d.0" % number for number in numbers]


@contextmanager
def joined(redis: Redis, *, most_kept: int = 100) -> Iterator[tuple[Bus, Follower]]:
    follower = Follower()
    bus = Bus(redis, follower, most_kept=most_kept, most_kept_bytes=1 << 20)
    try:
        wait_until(lambda: has_read(bus), 30, "the bus")
        yield bus, follower
    finally:
        bus.close()


def has_read(bus: Bus) -> bool:
    """On a machine that is busy a server may answer late."""
    try:
        bus.read()
    except RedisError:
        return False
    return True


@pytest.fixture
def redis(make_settings: MakeSettings, redis_url: str) -> Redis:
    return make_redis(make_settings(redis_url=redis_url, redis_timeout_s=30).redis)


def test_every_node_hears_everything_in_one_order(redis: Redis) -> None:
    with joined(redis) as (one, at_one), joined(redis) as (two, at_two):
        one.append(rows(1, 2))
        two.append(rows(3))
        one.append(rows(4))
        one.read()
        two.read()

    assert at_one.heard == at_two.heard == stamps(1, 2, 3, 4)
    assert at_one.positions[0].epoch == at_two.positions[0].epoch


def test_a_node_that_starts_knows_what_was_carried_before(redis: Redis) -> None:
    """Or all readers of a node that died would load everything anew."""
    with joined(redis) as (bus, _):
        bus.append(rows(*range(2500)))
    with joined(redis, most_kept=2000) as (_, late):
        pass

    assert late.starts == [("start", stamps(*range(500, 2500)))]


def test_a_redis_that_was_away_loses_nothing(make_settings: MakeSettings) -> None:
    with start_redis() as server:
        redis = make_redis(make_settings(redis_url=server.url).redis)
        with joined(redis) as (bus, follower):
            with server.frozen(), pytest.raises(RedisError):
                bus.read()
            with Redis.from_url(server.url) as patient:
                for _, entry in rows(1):
                    patient.xadd(BUS.of(), {**entry.fields(), "n": "1.0"})
            wait_until(lambda: has_read(bus) and bool(follower.heard), 30, "the entry")

    assert follower.heard == stamps(1)
    assert [reason for reason, _ in follower.starts] == ["start"]


def test_a_flushed_redis_begins_anew(redis: Redis) -> None:
    with joined(redis) as (bus, follower):
        bus.append(rows(1))
        redis.flushall()
        bus.append(rows(2))
        bus.read()
        bus.append(rows(3))
        bus.read()

    assert [reason for reason, _ in follower.starts] == ["start", "flushed"]
    assert follower.starts[1][1] == stamps(2), "for those who come later"
    assert follower.heard == stamps(3)
    assert follower.positions[0].epoch != follower.positions[1].epoch


def test_a_redis_that_starts_again_begins_anew_since_it_may_have_forgotten_some(
    make_settings: MakeSettings,
) -> None:
    with start_redis("--appendonly", "yes") as server:
        redis = make_redis(make_settings(redis_url=server.url).redis)
        with joined(redis) as (bus, follower):
            server.restart()
            with pytest.raises((RedisError, OSError)):
                bus.read()
            wait_until(lambda: has_read(bus), 30, "the bus")

    assert [reason for reason, _ in follower.starts] == ["start", "restarted"]
    assert follower.positions[0].epoch != follower.positions[1].epoch


def test_a_bus_that_was_flushed_while_its_connection_was_lost_was_not_restarted(
    redis: Redis,
) -> None:
    """Clients and operators are told which of the two it was."""
    with joined(redis) as (bus, follower):
        bus.close()
        redis.flushall()
        bus.read()

    assert [reason for reason, _ in follower.starts] == ["start", "flushed"]


def test_a_bus_that_was_cut_off_while_its_connection_was_lost_is_ahead_of_the_node(
    redis: Redis,
) -> None:
    with joined(redis) as (bus, follower):
        bus.append(rows(1))
        bus.close()
        redis.xtrim(BUS.of(), maxlen=1, approximate=False)
        bus.read()

    assert [reason for reason, _ in follower.starts] == ["start", "behind"]


def test_a_node_that_reaches_the_bus_at_its_second_try_starts(redis: Redis) -> None:
    tries = mock.patch.object(Bus, "_read_back", side_effect=[RedisConnectionError, []])
    with tries, joined(redis) as (_, follower):
        pass

    assert [reason for reason, _ in follower.starts] == ["start"]


def test_a_quiet_bus_keeps_a_node_ready_however_patient_it_is_with_redis(
    make_settings: MakeSettings, redis_url: str
) -> None:
    patient = make_redis(make_settings(redis_url=redis_url, redis_timeout_s=3600).redis)
    with joined(patient) as (bus, _):
        bus.read()

    assert 2 * bus_module.LONGEST_BLOCK_S < STALE_S


def test_a_node_that_was_too_slow_for_the_bus_begins_anew(redis: Redis) -> None:
    with joined(redis) as (bus, follower), mock.patch.object(bus_module, "MOST_AT_ONCE", 5):
        bus.append(rows(*range(8)))
        redis.xtrim(BUS.of(), maxlen=6, approximate=False)
        bus.read()

    assert [reason for reason, _ in follower.starts] == ["start", "behind"]


def test_a_node_that_has_a_backlog_reads_all_of_it(redis: Redis) -> None:
    with joined(redis) as (bus, follower), mock.patch.object(bus_module, "MOST_AT_ONCE", 5):
        bus.append(rows(*range(12)))
        for _ in range(3):
            bus.read()

    assert follower.heard == stamps(*range(12))
    assert len(follower.starts) == 1


def test_an_entry_of_another_shape_is_left_out(redis: Redis) -> None:
    with joined(redis) as (bus, follower):
        redis.xadd(BUS.of(), {"x": "of another version"})
        bus.append(rows(1))
        bus.read()

    assert follower.heard == stamps(1)


def test_a_redis_that_the_bus_has_filled_is_given_room(make_settings: MakeSettings) -> None:
    """XADD shortens the stream, and a Redis that is full refuses it: it would be full for ever."""
    options = ("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    long = [("1.0", Entry(b'{"type":"%b"}' % (b"x" * 2000), "7"))] * 200

    def fill(bus: Bus) -> None:
        for _ in range(100):
            bus.append(long)

    with start_redis(*options) as server:
        redis = make_redis(make_settings(redis_url=server.url).redis)
        with joined(redis) as (bus, follower):
            with pytest.raises(OutOfMemoryError):
                fill(bus)
            bus.append(rows(2))
            wait_until(lambda: has_read(bus) and len(follower.starts) == 2, 30, "what was cut off")
            bus.append(rows(3))
            wait_until(lambda: has_read(bus) and bool(follower.heard), 30, "an entry")

    assert follower.starts[1][0] == "behind"
    assert follower.heard == stamps(3)


def test_the_stream_is_as_long_as_the_window_of_a_node(redis: Redis) -> None:
    """Long messages make it short, or they would fill Redis."""
    with joined(redis) as (bus, follower):
        follower.most = 100
        bus.append(rows(*range(1000)))

    length: Any = redis.xlen(BUS.of())
    assert length < 300
