"""What the routes of orders and payments share: their own way into the database, and their bounds.

Buying may wait for locks, and for a provider; reading must not wait with it. So the shop has
connections of its own, and holds at most half of a worker's threads: a quarter may work for readers
who buy and a quarter for providers who call back, and who waits for such a place takes a thread
that the other kind does not use. Buyers leave a quarter of the half to providers in any case, whose
word is about money. Rejected: settings for each; they would have to be kept in step with the number
of threads.

    app.add_route("/orders", OrdersResource(make_shop(settings, provider), max_body_bytes=20_000))
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore

from sqlalchemy import Engine

from tidings.http.bulkhead import Bulkhead
from tidings.process.settings import Settings
from tidings.shop.caps import Caps
from tidings.shop.providers import Provider
from tidings.store.engine import make_engine


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop of one worker.

    Attributes:
        engine: where orders and stock are.
        provider: takes the money for orders.
        caps: the most that may be held without paying.
        timeout_s: how long an order may stay unpaid.
        first_visit_timeout_s: the same for readers who were never here before.
        buying: the room for readers' requests.
        settling: the room for the provider's.
    """

    engine: Engine
    provider: Provider
    caps: Caps
    timeout_s: float
    first_visit_timeout_s: float
    buying: Bulkhead
    settling: Bulkhead


def make_shop(settings: Settings, provider: Provider) -> Shop:
    """The shop of these settings. It connects on first use."""
    threads, shop = settings.gateway.threads, settings.shop
    half = max(threads // 2, 1)
    room = max(half // 2, 1)
    # Of all the shop's requests, and of those of readers who buy.
    inside, buyers = BoundedSemaphore(half), BoundedSemaphore(max(half - max(half // 4, 1), 1))
    # One connection for each request there is room for: none waits for another's.
    pool = {"pool_size": 2 * room}
    return Shop(
        engine=make_engine(settings.database.model_copy(update=pool)),
        provider=provider,
        caps=Caps(
            unpaid=shop.order_most_unpaid,
            unpaid_per_address=shop.order_most_unpaid_per_address,
            pieces=shop.order_most_pieces,
            cents=shop.order_most_cents,
        ),
        timeout_s=shop.order_timeout_s,
        first_visit_timeout_s=min(shop.order_first_visit_timeout_s, shop.order_timeout_s),
        buying=Bulkhead("orders", room, [buyers, inside]),
        settling=Bulkhead("payment callbacks", room, [inside]),
    )
