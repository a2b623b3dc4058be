"""Which payment provider this site has, and the routes of its paid editions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from gateway.resources.payments import order_routes
from tidings.process.settings import Settings
from tidings.shop.payments import Charge, Provider, ProviderUnavailableError, Started, derive_keys
from tidings.shop.providers.sandbox import SandboxProvider, deliver_by_http


class NoProvider:
    """Implements `payments.Provider` for a site that has none: orders can be placed, and expire."""

    name = "none"

    def start(self, charge: Charge) -> Started:
        raise ProviderUnavailableError("this site has no payment provider; nothing was charged")


def make_shop_routes(
    settings: Settings, engine: Engine, keys: Sequence[bytes]
) -> Mapping[str, object]:
    """path → resource of products, orders and payments."""
    secrets = settings.shop.payment_secrets
    payment_keys = [secret.encode() for secret in secrets] if secrets else derive_keys(keys)
    provider: Provider = NoProvider()
    if settings.shop.payment_provider == "sandbox":
        provider = SandboxProvider(
            deliver_by_http(f"{settings.site.url}/payments/callback", payment_keys[0])
        )
    return order_routes(
        engine,
        provider,
        payment_keys,
        timeout_s=settings.shop.order_timeout_s,
        max_body_bytes=settings.gateway.max_body_bytes,
    )
