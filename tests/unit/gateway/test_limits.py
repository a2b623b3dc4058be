"""What counts as one address, and what the door does where the limits cannot be counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.unit.gateway.doors import make_door
from tidings.http.limits import LimitClass, Quotas, address_network, address_number, make_quotas
from tidings.process.settings import flat_names

QUOTAS = Quotas(of_reader=dict.fromkeys(LimitClass, 1), key_times=1, address_times=1, new_readers=1)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("proxy", "proxy"),
    ],
)
def test_an_address_counts_as_what_one_subscriber_has(address: str, network: str) -> None:
    assert address_network(address) == network


@given(st.ip_addresses(), st.ip_addresses())
def test_two_addresses_have_one_number_if_they_are_in_one_network(
    one: object, other: object
) -> None:
    same_network = address_network(str(one)) == address_network(str(other))

    assert (address_number(str(one)) == address_number(str(other))) == same_network


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_every_address_of_an_ipv6_network_counts_as_one(address: object, host: int) -> None:
    upper = int(address) >> 64  # type: ignore[call-overload]
    if upper == 0:  # where IPv4 is written as IPv6
        return
    neighbour = type(address)(upper << 64 | host)  # type: ignore[call-arg]

    assert address_number(str(address)) == address_number(str(neighbour))


def test_without_redis_the_door_is_open_and_that_is_counted(
    engine: Engine, dead_redis: Redis
) -> None:
    door = make_door(engine, dead_redis, quotas=QUOTAS)
    door.newsroom.channels(1)
    door.recommends([door.newsroom.article(channel_id=1)])

    def opened() -> float:
        return REGISTRY.get_sample_value("tidings_limits_opened_total") or 0.0

    before = opened()
    answers = [door.client.simulate_get("/articles", remote_addr="192.0.2.1") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert all("X-Reader" in answer.headers for answer in answers)
    assert not any("RateLimit" in answer.headers for answer in answers)
    assert opened() - before == 3


def test_each_class_of_work_has_a_setting_and_0_turns_all_of_them_off(
    make_settings: MakeSettings,
) -> None:
    of_chat = {LimitClass.CHAT_READ: "chat_limit_read", LimitClass.CHAT_WRITE: "chat_limit_write"}
    names = [of_chat.get(limit, f"gateway_limit_{limit}") for limit in LimitClass]
    assert set(names) <= set(flat_names())

    off = make_quotas(make_settings(**dict.fromkeys(names, 0)))

    assert off.of_reader == dict.fromkeys(LimitClass, 0)


def test_every_resource_that_knows_its_reader_has_a_limit_or_none_to_fear() -> None:
    """Trap: a route that is added without a class takes as much as it is asked."""
    root = Path(__file__).parent.parent.parent.parent
    modules = [
        *(root / "gateway" / "resources").rglob("*.py"),
        *(root / "services" / "chat").rglob("*.py"),
    ]
    without = [
        f"{path.name}: {block.splitlines()[0]}"
        for path in sorted(modules)
        for block in path.read_text().split("\nclass ")[1:]
        if "needs_reader = True" in block and "limit_class = " not in block
    ]

    assert without == ["front_page.py: FrontPageResource:"], "read once, out of memory"
