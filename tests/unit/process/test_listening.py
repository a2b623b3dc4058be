"""Where to listen and to connect."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tidings.process.errors import SettingsError, naming
from tidings.process.listening import (
    Address,
    cannot_listen,
    check_bind,
    listen,
    listen_by_name,
    parse_address,
    resolve,
)


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
    """Trap: `localhost` gave one family here and the other there; a client tries both."""
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 9090))
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 9090, 0, 2))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6, v4, v4])

    assert parse_address("recommender.internal:9090") is None
    assert resolve("recommender.internal:9090") == [
        Address(socket.AF_INET6, ("fe80::1", 9090, 0, 2)),
        Address(socket.AF_INET, ("10.0.0.1", 9090)),
    ]


def test_an_address_is_checked_before_anything_is_started() -> None:
    """Free addresses and unix sockets pass; one that is taken, or is no address of this machine, is
    named with its setting."""
    check_bind("127.0.0.1:0")
    check_bind("unix:/run/gateway.sock")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        with (
            pytest.raises(
                SettingsError,
                match=f"TIDINGS_GATEWAY_BIND: cannot listen on {taken}: another program",
            ),
            naming("GATEWAY_BIND"),
        ):
            check_bind(taken)
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1:80: Cannot assign"):
        check_bind("192.0.2.1:80")


def test_a_host_name_that_is_unknown_is_said_in_one_line() -> None:
    """A resolver's failure has no text of the system's; there is a reason all the same."""
    reason = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert str(cannot_listen("nowhere.invalid:80", reason)) == (
        "cannot listen on nowhere.invalid:80: Name or service not known"
    )


def test_a_door_for_browsers_takes_a_name_and_one_for_programs_does_not() -> None:
    """`localhost` is two addresses, and the other end may try the other one."""
    with listen_by_name("localhost:0") as sock:
        assert sock.getsockname()[0] in ("127.0.0.1", "::1")
    with pytest.raises(SettingsError, match="name an address such as 127"):
        listen("localhost:0")


def test_the_socket_file_of_a_dead_process_is_taken_over_and_a_living_ones_is_not(
    tmp_path: Path,
) -> None:
    """A socket file outlives the process that was killed."""
    bind = f"unix:{tmp_path}/s"
    listen(bind).close()
    with (
        listen(bind),
        pytest.raises(SettingsError, match=f"cannot listen on {bind}: another program listens"),
    ):
        listen(bind)


def test_a_path_too_long_for_a_unix_socket_is_said_in_one_line(tmp_path: Path) -> None:
    """The system gives no number for it."""
    with pytest.raises(SettingsError, match="AF_UNIX path too long"):
        listen(f"unix:{tmp_path}/{'x' * 200}")
