"""The provider of a site that has none: orders can be placed, and expire.

make_provider("none", site).start(charge)  # raises NoProviderError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from tidings.shop.providers import (
    CallbackRefusedError,
    Charge,
    NoProviderError,
    Repayment,
    Site,
)


class NoProvider:
    """Implements `Provider`, and takes nothing."""

    name = "none"

    def start(self, charge: Charge) -> NoReturn:
        raise NoProviderError(
            "this site has no payment provider; nothing was charged, and the order will expire"
        )

    def read_callback(self, headers: Mapping[str, str], body: bytes, now_s: float) -> NoReturn:
        raise CallbackRefusedError("this site has no payment provider that could call back")

    def refund(self, repayment: Repayment) -> NoReturn:
        raise NoProviderError("this site has no payment provider; nothing was given back")


def make_provider(_site: Site) -> NoProvider:
    """Found by its name."""
    return NoProvider()
