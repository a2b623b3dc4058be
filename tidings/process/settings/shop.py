"""Settings of what is sold.

A function takes the group that it needs, and no other.

    settings.shop.order_timeout_s  # TIDINGS_ORDER_TIMEOUT_S
"""

from __future__ import annotations

from pydantic import Field

from tidings.process.settings.group import Group, Secrets, group_config

# A year. A database's moments end, and a stock that is held for longer is not on sale.
MOST_S = 366 * 24 * 3600
# As large as a column of MariaDB's INT; a larger bound is none, which is written as 0.
MOST_HELD = 2**31 - 1


class ShopSettings(Group):
    """How long an order waits for its money, how much may wait, and who takes it."""

    model_config = group_config()

    order_timeout_s: float = Field(
        1800, gt=0, le=MOST_S, description="an unpaid order is cancelled after this time"
    )
    order_first_visit_timeout_s: float = Field(
        300, gt=0, le=MOST_S, description="the same, for a reader who was never here before"
    )
    order_most_unpaid: int = Field(
        3, ge=0, le=MOST_HELD, description="unpaid orders one reader may have; 0: any number"
    )
    order_most_unpaid_per_address: int = Field(
        10,
        ge=0,
        le=MOST_HELD,
        description="unpaid orders one address may have, an IPv6 /64 being one; 0: any",
    )
    order_most_pieces: int = Field(
        100, ge=0, le=MOST_HELD, description="pieces in one reader's unpaid orders; 0: any number"
    )
    order_most_cents: int = Field(
        500_000,
        ge=0,
        le=MOST_HELD,
        description="what one reader's unpaid orders may cost, a currency; 0: any",
    )
    payment_provider: str = Field(
        "none",
        description="who takes the money, by the name of a file in tidings/shop/providers; "
        "the sandbox calls SITE_URL back and takes none",
    )
    payment_secrets: Secrets = Field(
        (),
        description="comma-separated; sign the payment provider's calls; "
        "default: derived from SECRET_KEYS",
    )
