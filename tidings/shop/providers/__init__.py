"""Payment providers: what one is, and where it is found by its name.

A provider is one file in this folder. Its name is the file's, its `make_provider` gets the `Site`
it works for, and the setting PAYMENT_PROVIDER names it; no list elsewhere has to be kept. It knows
how its own callbacks are signed and written, and hands on what they mean. Each of its calls ends by
itself within ten seconds, since a reader, or the next refund, waits. Rejected: entry points of
other packages; a provider moves money, so it is reviewed and released with what relies on it.

    provider = make_provider("sandbox", Site(callback_url, secrets=(), site_keys=keys))
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from tidings.process.errors import PREFIX, SettingsError
from tidings.process.settings import Settings, read_secret_keys

MAX_INT = 2**63 - 1


class ProviderUnavailableError(Exception):
    """The provider does not answer just now; asking the same again is safe."""


class NoProviderError(ProviderUnavailableError):
    """The site has none; asking again changes nothing until an operator names one."""


class CallbackRefusedError(Exception):
    """The callback is not the provider's, or is an old one sent again.

    Args:
        reason: what is wrong, for the sender.
        outcome: the word under which it is counted, such as `forged`.
    """

    def __init__(self, reason: str, outcome: str = "refused") -> None:
        super().__init__(reason)
        self.outcome = outcome


class CallbackUnreadableError(Exception):
    """The provider signed what is no callback of a known form; the message says what is wrong."""


class Charge(msgspec.Struct, frozen=True):
    """What a provider is asked to take. The payment's id makes the request repeatable."""

    payment_id: int
    order_id: int
    amount_cents: int
    currency: str


class Started(msgspec.Struct, frozen=True):
    """What a provider answers: its own name for the payment, and where the reader pays."""

    provider_ref: str
    pay_url: str


# What a payment's callback may be about; a provider may tell of more, which is noted.
TYPES = frozenset({"payment.pending", "payment.succeeded", "payment.failed"})


class Callback(msgspec.Struct, frozen=True):
    """What a provider calls back with, however it writes that itself. The bounds are those of the
    table that keeps it.

    Attributes:
        event_id: the same when the same thing is told again.
        type: one of TYPES; of another type, no more need be known.
    """

    event_id: Annotated[str, Meta(pattern="^[\\x21-\\x7e]{1,128}\\Z")]
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    payment_id: Annotated[int, Meta(ge=1, le=MAX_INT)] | None = None
    provider_ref: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    amount_cents: Annotated[int, Meta(ge=0, le=MAX_INT)] | None = None
    currency: Annotated[str, Meta(max_length=8)] | None = None


class Repayment(msgspec.Struct, frozen=True):
    """What a provider is asked to give back: all of one payment, whose id makes the request
    repeatable."""

    payment_id: int
    provider_ref: str | None
    amount_cents: int
    currency: str


class Provider(Protocol):
    """A company that takes money and gives it back."""

    name: str

    def start(self, charge: Charge) -> Started:
        """Begin a payment; the same charge again gives the same answer.

        Raises:
            ProviderUnavailableError: it may or may not have begun; try again.
        """
        ...

    def read_callback(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Callback:
        """What a request to `/payments/callback` says, once it is known to be the provider's.

        Args:
            headers: of the request, by their names in lower case.
            body: its bytes as they came, since signatures are over bytes.
            now_s: seconds since the epoch; an old callback may be a thief's.

        Raises:
            CallbackRefusedError: it is not the provider's, or not of now.
            CallbackUnreadableError: it is, and says nothing that is known.
        """
        ...

    def refund(self, repayment: Repayment) -> None:
        """Give a payment back; the same repayment again gives nothing more.

        Raises:
            ProviderUnavailableError: it may or may not have been taken up; try again.
        """
        ...


class Site(msgspec.Struct, frozen=True):
    """What a provider is told about the site it works for.

    Attributes:
        callback_url: where it calls back.
        secrets: agreed with the provider, the newest first; empty where the site names none.
        site_keys: the site's own keys, for a provider that has no secret of its own.
    """

    callback_url: str
    secrets: Sequence[bytes]
    site_keys: Sequence[bytes]


def make_site(settings: Settings) -> Site:
    """The site of these settings.

    Raises:
        SettingsError: it has no secret keys.
    """
    return Site(
        callback_url=f"{settings.site.url}/payments/callback",
        secrets=[secret.encode() for secret in settings.shop.payment_secrets],
        site_keys=read_secret_keys(settings.site),
    )


def find_names() -> list[str]:
    """The providers there are, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def check_name(name: str) -> None:
    """Let the name of a provider pass that there is.

    Raises:
        SettingsError: there is none; the message names those there are.
    """
    names = find_names()
    if name not in names:
        raise SettingsError(
            f"{PREFIX}PAYMENT_PROVIDER: expected one of {', '.join(names)}, got {name!r}"
        )


def make_provider(name: str, site: Site) -> Provider:
    """The provider of this name.

    Raises:
        SettingsError: there is none; the message names those there are.
    """
    check_name(name)
    provider: Provider = import_module(f"{__name__}.{name}").make_provider(site)
    return provider
