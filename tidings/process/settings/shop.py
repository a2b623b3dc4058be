"""Settings of what is sold.

A function takes the group that it needs, and no other.

    settings.shop.order_timeout_s  # TIDINGS_ORDER_TIMEOUT_S
"""

from __future__ import annotations

from pydantic import Field

from tidings.process.settings.group import Group, Secrets, group_config


class ShopSettings(Group):
    """How long an order waits for its money, and who takes it."""

    model_config = group_config()

    order_timeout_s: float = Field(
        1800, gt=0, description="an unpaid order is cancelled after this time"
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
