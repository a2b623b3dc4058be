"""How fast one socket may speak: ten messages a second, and twenty at once.

A bucket of tokens is one number: the moment when it will be full again (GCRA, as in ATM's traffic
management). A socket has one, so it is 24 bytes and no lock. Rejected: the gateway's windows in
Redis, which would ask it once a message.

    pace = Pace()
    pace.admit(time.monotonic())  # False: one too many
"""

from __future__ import annotations

# People type one a second; the rest is for marks, typing and what a page sends after a reconnect.
PER_S = 10.0
BURST = 20


class Pace:
    """One socket's bucket."""

    __slots__ = ("_full_s",)

    def __init__(self) -> None:
        self._full_s = 0.0

    def admit(self, now_s: float) -> bool:
        """Take one token, if there is one."""
        full_s = max(self._full_s, now_s)
        if full_s - now_s > (BURST - 1) / PER_S:
            return False
        self._full_s = full_s + 1 / PER_S
        return True
