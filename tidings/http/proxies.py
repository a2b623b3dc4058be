"""Who a client is when a proxy speaks for it: its real address, and whether it came over TLS.

A header is worth what its sender is: `X-Forwarded-For` and `X-Forwarded-Proto` are taken from this
machine's own programs and from the proxies that an operator names, and of several hops the last,
which is the one that the proxy saw itself. From others they are counted, named in the log once a
minute and taken away, so that nothing behind the door can be fooled by them. Rejected: gunicorn's
`forwarded_allow_ips`, which knows schemes and no addresses, and believes three headers more.

    proxies = Proxies(settings.gateway.trusted_proxies)
    proxies.settle(environ)  # REMOTE_ADDR and wsgi.url_scheme are the client's
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Counter

from tidings.process.logs import SeldomLog

SETTING = "TIDINGS_TRUSTED_PROXIES"
TOLD_EVERY_S = 60
LOCAL = "127.0.0.1"
_FORWARDED_FOR = re.compile(rb"\r\nx-forwarded-for:([^\r\n]*)\r\n", re.IGNORECASE)
_FOR, _PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"
# Falcon would read the others too.
_TAKEN_AWAY = (_FOR, _PROTO, "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_FORWARDED")

IGNORED = Counter(
    "tidings_http_forwarded_ignored",
    "Requests whose X-Forwarded headers came from an address that is not believed",
)
_seldom = SeldomLog(structlog.get_logger(__name__), every_s=TOLD_EVERY_S)


class Proxies:
    """Who is believed about others.

    Args:
        trusted: addresses and networks, beside loopback and unix sockets.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in trusted]
        self.believes = functools.lru_cache(maxsize=4096)(self._believes)

    def find_client(self, peer: str, request: bytes) -> str:
        """Whose request it is, told before it is parsed: good enough to take turns by."""
        if not self.believes(peer):
            return peer
        found = _FORWARDED_FOR.search(request, 0, request.find(b"\r\n\r\n") + 2)
        return (found and _read_address(_last(found[1].decode("latin-1")))) or peer

    def settle(self, environ: dict[str, Any]) -> None:
        """Make REMOTE_ADDR and `wsgi.url_scheme` what they are for the client at the far end."""
        # A unix socket has no address.
        peer = _read_address(environ.get("REMOTE_ADDR", "")) or LOCAL
        environ["REMOTE_ADDR"] = peer
        told = {name: environ.pop(name) for name in _TAKEN_AWAY if name in environ}
        if not told:
            return
        if not self.believes(peer):
            IGNORED.inc()
            _seldom.warning("forwarded_headers_ignored", address=peer, setting=SETTING)
            return
        client = _read_address(_last(told.get(_FOR, "")))
        if client is not None:
            environ["REMOTE_ADDR"] = client
        scheme = _last(told.get(_PROTO, "")).lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme

    def _believes(self, peer: str) -> bool:
        address = _parse(peer or LOCAL)
        return address is not None and (
            address.is_loopback or any(address in network for network in self._networks)
        )


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def _read_address(told: str) -> str | None:
    """An address as proxies write it, with or without a port; None if it is none."""
    bare = told[1:].partition("]")[0] if told.startswith("[") else told
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    address = _parse(bare)
    return None if address is None else str(address)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; an IPv4 one that came through an IPv6 socket is an IPv4 one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
