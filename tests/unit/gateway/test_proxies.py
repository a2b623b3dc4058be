"""Who a client is behind a proxy: told by those who are believed, and by no other."""

from __future__ import annotations

from typing import Any

import pytest

from tidings.http.proxies import IGNORED, Proxies


def settled(peer: str, trusted: tuple[str, ...] = (), **headers: str) -> dict[str, Any]:
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"} | {
        f"HTTP_{name.upper()}": value for name, value in headers.items()
    }
    Proxies(trusted).settle(environ)
    return environ


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("198.51.100.1,192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:51234", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:DB8::7]:51234", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("192.0.2.7, ", "127.0.0.1"),
    ],
)
def test_of_several_hops_the_last_counts(told: str, address: str) -> None:
    assert settled("127.0.0.1", x_forwarded_for=told)["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("told", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http", "http"),
        ("http, https", "https"),
        ("x", "http"),
    ],
)
def test_the_scheme_is_the_clients(told: str, scheme: str) -> None:
    assert settled("::1", x_forwarded_proto=told)["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", ()),
        ("127.8.9.1", ()),
        ("::1", ()),
        ("::ffff:127.0.0.1", ()),
        ("", ()),
        ("192.0.2.9", ("192.0.2.9",)),
        ("192.0.2.9", ("198.51.100.0/24", "192.0.2.8/29")),
        ("2001:db8::9", ("2001:db8::/32",)),
        ("::ffff:192.0.2.9", ("192.0.2.9",)),
    ],
)
def test_this_machine_and_those_an_operator_names_are_believed(
    peer: str, trusted: tuple[str, ...]
) -> None:
    environ = settled(peer, trusted, x_forwarded_for="203.0.113.5", x_forwarded_proto="https")

    assert environ["REMOTE_ADDR"] == "203.0.113.5"
    assert environ["wsgi.url_scheme"] == "https"


def test_what_others_say_is_taken_away_and_counted() -> None:
    before = IGNORED._value.get()

    environ = settled(
        "192.0.2.9", ("198.51.100.0/24",), x_forwarded_for="10.0.0.1", x_forwarded_proto="https"
    )

    assert environ == {"REMOTE_ADDR": "192.0.2.9", "wsgi.url_scheme": "http"}
    assert IGNORED._value.get() == before + 1


@pytest.mark.parametrize("name", ["x_forwarded_host", "x_real_ip", "forwarded"])
def test_nothing_else_is_believed_of_a_client(name: str) -> None:
    for peer in ("127.0.0.1", "192.0.2.9"):
        assert f"HTTP_{name.upper()}" not in settled(peer, (), **{name: "for=10.0.0.1"})


def test_a_unix_socket_is_this_machine() -> None:
    assert settled("")["REMOTE_ADDR"] == "127.0.0.1"


def test_turns_are_taken_by_the_client_and_not_by_the_proxy() -> None:
    proxies = Proxies(("192.0.2.9",))
    request = b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.5\r\nHost: a\r\n\r\n"

    assert proxies.find_client("192.0.2.9", request) == "203.0.113.5"
    assert proxies.find_client("192.0.2.10", request) == "192.0.2.10"
    assert proxies.find_client("127.0.0.1", b"GET / HTTP/1.1\r\n\r\n") == "127.0.0.1"
