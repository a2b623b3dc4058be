"""Where to listen and to connect."""

from __future__ import annotations

import socket

import pytest

from tidings.process.settings import SettingsError
from tidings.rpc.address import Address, parse_address, resolve


@pytest.mark.parametrize("text", ["127.0.0.1:9090", "[::1]:9090", "unix:/run/tidings/s"])
def test_a_literal_is_an_address_and_reads_as_it_was_written(text: str) -> None:
    """The same text in settings, logs and metrics."""
    address = parse_address(text)

    assert str(address) == text
    assert resolve(text) == [address]


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.0.0.1:", ":9090", "127.0.0.1:x", "127.0.0.1:70000", ""]
)
def test_what_is_no_address_is_one_clear_message(text: str) -> None:
    """At start, and not at the first call."""
    with pytest.raises(SettingsError, match="expected HOST:PORT"):
        parse_address(text)


def test_a_name_is_all_its_addresses_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: `localhost` gave one family here and the other there; whoever connects tries both."""
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 9090))
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 9090, 0, 2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6, v4, v4])

    assert parse_address("recommender.internal:9090") is None
    assert resolve("recommender.internal:9090") == [
        Address(socket.AF_INET6, ("fe80::1", 9090, 0, 2)),
        Address(socket.AF_INET, ("10.0.0.1", 9090)),
    ]
