"""What tests and benchmarks need to order: no caps, where caps are not what they are about."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from gateway.resources.shop import Shop
from tidings.http.bulkhead import Bulkhead
from tidings.shop.caps import Caps
from tidings.shop.providers import Provider

NO_CAPS = Caps(unpaid=0, unpaid_per_address=0, pieces=0, cents=0)
# Keyword arguments of `orders.place`.
ANYBODY: dict[str, Any] = {"address": None, "caps": NO_CAPS}


def make_open_shop(engine: Engine, provider: Provider, **options: Any) -> Shop:
    """A shop for the gateway's routes, with room for everybody."""
    usual: dict[str, Any] = {
        "caps": NO_CAPS,
        "timeout_s": 1800,
        "first_visit_timeout_s": 300,
        "buying": Bulkhead("orders", 64),
        "settling": Bulkhead("payment callbacks", 64),
    }
    return Shop(engine=engine, provider=provider, **usual | options)
