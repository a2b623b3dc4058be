"""How many sockets an address holds, so that one machine cannot take them all.

An address is counted as everywhere in Tidings: of IPv6 a network of 64 bits is one. A proxy that is
believed, and this machine itself, may hold any number: behind them are others, who are counted by
the address that the proxy tells. Rejected: a rule of the firewall, which sees the proxy alone.

    place = addresses.take("192.0.2.7")
    addresses.leave(place)
"""

from __future__ import annotations

from collections.abc import Callable

from tidings.http.errors import TooManyConnectionsError
from tidings.http.limits import address_network

ANY = ""


class Addresses:
    """Args:
    most: sockets of one address; 0 is any number.
    believes: whether an address is that of a proxy that speaks for others.
    """

    def __init__(self, most: int, believes: Callable[[str], bool]) -> None:
        self._most = most
        self._believes = believes
        self._held: dict[str, int] = {}

    def take(self, address: str) -> str:
        """A place for one more socket of this address; give it back with `leave`.

        Raises:
            TooManyConnectionsError: the address has as many as it may.
        """
        if not self._most or self._believes(address):
            return ANY
        network = address_network(address)
        held = self._held.get(network, 0)
        if held >= self._most:
            raise TooManyConnectionsError(f"this address holds {held} connections already")
        self._held[network] = held + 1
        return network

    def leave(self, place: str) -> None:
        """A socket is gone."""
        if place == ANY:
            return
        left = self._held[place] - 1
        if left:
            self._held[place] = left
        else:
            del self._held[place]
