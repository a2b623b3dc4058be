"""Which machines may be asked."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.addresses import (
    PUBLIC_ONLY,
    AddressRefusedError,
    FetchRules,
    connect,
    is_public,
)

ANYWHERE = FetchRules(private_addresses=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "2002:7f00:1::",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_one_public_machine_is_known(address: str) -> None:
    """Each kind in which a machine of the own network, or a crowd of machines, can be written."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
)
def test_public_machines_are_known(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_ipv4_within_ipv6_is_judged_as_ipv4(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))


def _answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Have the resolver say these for every name; gives what it is asked."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_kind: Any) -> list[Any]:
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def _connect(port: int, rules: FetchRules = PUBLIC_ONLY) -> socket.socket:
    return connect("feeds.example", port, rules=rules, wait_s=60, watch=lambda _sock: None)


def test_a_name_of_a_private_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        _answers(monkeypatch, "127.0.0.1")
        with pytest.raises(AddressRefusedError, match=r"127\.0\.0\.1 is not a public address"):
            _connect(server.getsockname()[1])
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_name_is_looked_up_once_and_only_what_was_judged_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name with a public and a private address, or with another one each time it is asked."""
    asked = _answers(monkeypatch, "127.0.0.2", "127.0.0.1", "127.0.0.3")
    monkeypatch.setattr(
        "tidings.importing.addresses.is_public", lambda address: address == "127.0.0.1"
    )
    with socket.create_server(("", 0)) as server:
        with _connect(server.getsockname()[1]) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        assert asked == ["feeds.example"]


def test_an_address_that_does_not_answer_leaves_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        _answers(monkeypatch, "127.0.0.2", "127.0.0.1")
        with _connect(server.getsockname()[1], ANYWHERE) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        _answers(monkeypatch, "127.0.0.2", "127.0.0.3")
        with pytest.raises(ConnectionRefusedError):
            _connect(server.getsockname()[1], ANYWHERE)


def test_a_resolver_that_says_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no time-out of its own."""
    says = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: says.wait(60))
    try:
        with pytest.raises(TimeoutError):
            connect("x.example", 80, rules=PUBLIC_ONLY, wait_s=0.05, watch=lambda _sock: None)
    finally:
        says.set()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "x..example", "no-such-host.invalid"])
def test_what_is_no_name_is_an_error_of_the_system(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        connect(host, 80, rules=PUBLIC_ONLY, wait_s=120, watch=lambda _sock: None)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "localhost"])
def test_other_ways_to_write_an_address_lead_nowhere_else(host: str) -> None:
    """What is judged is what the system makes of them."""
    with pytest.raises(AddressRefusedError):
        connect(host, 80, rules=PUBLIC_ONLY, wait_s=120, watch=lambda _sock: None)
