"""How a reader came: on which device, and from where. One byte stands for both, in tokens, in the
record of a batch and in stored behaviours.

What is read on a telephone is not what is read at a desk, and a visit from a search is not one from
the front page: the recommender compares acts of one context with each other. Rejected: the
User-Agent and the Referer as they came, which name a reader more than they tell of a visit, and
which no counter could be kept for.

    Context(Device.MOBILE, Referrer.SEARCH).code  # 35
    context_of(35).device  # Device.MOBILE
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

_REFERRER_BITS = 4


class Device(IntEnum):
    """What the reader holds. The numbers stand in tokens and in stored behaviours; the names in
    small letters are those of the IDL."""

    UNKNOWN = 0
    DESKTOP = 1
    MOBILE = 2
    TABLET = 3
    OTHER = 4


class Referrer(IntEnum):
    """What led to the visit; `NONE` is an address that was typed in or kept. Numbers and names as
    those of `Device`."""

    UNKNOWN = 0
    NONE = 1
    INTERNAL = 2
    SEARCH = 3
    SOCIAL = 4
    OTHER = 5


class Context(NamedTuple):
    """How a reader came."""

    device: Device = Device.UNKNOWN
    referrer: Referrer = Referrer.UNKNOWN

    @property
    def code(self) -> int:
        """Both in one byte; 0 if nothing is known."""
        return self.device << _REFERRER_BITS | self.referrer


_KNOWN = {
    context.code: context
    for device in Device
    for referrer in Referrer
    for context in [Context(device, referrer)]
}
NO_CONTEXT = _KNOWN[0]


def context_of(code: int) -> Context:
    """The context of a code. A code that only a newer release knows says nothing here."""
    return _KNOWN.get(code, NO_CONTEXT)


def name_of(part: IntEnum) -> str:
    """The name of a device or a referrer in the IDL; empty if it is unknown."""
    return part.name.lower() if part else ""


def make_context(device: str | None, referrer: str | None) -> Context:
    """The context of two names of the IDL. A name that is not known, or absent, is unknown."""
    return Context(
        _DEVICES.get(device or "", Device.UNKNOWN), _REFERRERS.get(referrer or "", Referrer.UNKNOWN)
    )


_DEVICES = {device.name.lower(): device for device in Device}
_REFERRERS = {referrer.name.lower(): referrer for referrer in Referrer}
