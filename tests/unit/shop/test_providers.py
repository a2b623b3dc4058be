"""A payment provider is a file in a folder, found by its name, and reads its own callbacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeSettings
from tidings.process.errors import SettingsError
from tidings.shop import providers
from tidings.shop.providers import (
    CallbackRefusedError,
    CallbackUnreadableError,
    Charge,
    NoProviderError,
    ProviderUnavailableError,
    Repayment,
    Site,
    find_names,
    make_provider,
    make_site,
)
from tidings.shop.providers.sandbox import derive_keys, sign

SITE = Site(callback_url="http://127.0.0.1:1/", secrets=(), site_keys=(b"k" * 32, b"o" * 32))
NOW_S = 1_800_000_000
# Sent by the first release, under a site's key b"k" * 32.
OLD_BODY = (
    b'{"event_id":"sandbox-7-payment.succeeded","type":"payment.succeeded","payment_id":7,'
    b'"provider_ref":"sandbox-7","amount_cents":450,"currency":"EUR"}'
)
OLD_SIGNATURE = "t=1800000000,v1=4ef154f62e4285e37d59c1f64b3b9beadf9443bfcf722e45341988e0ce0e9b95"
ANOTHER = """
from tidings.shop.providers import Started

class Pigeon:
    name = "pigeon"
    def start(self, charge):
        return Started(f"pigeon-{charge.payment_id}", "https://pigeon.example/")
    def read_callback(self, headers, body, now_s): ...
    def refund(self, repayment): ...

def make_provider(site):
    return Pigeon()
"""


def test_a_file_in_the_folder_is_a_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pigeon.py").write_text(ANOTHER)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])

    started = make_provider("pigeon", SITE).start(
        Charge(payment_id=4, order_id=1, amount_cents=100, currency="EUR")
    )

    assert {"none", "pigeon", "sandbox"} <= set(find_names())
    assert started.provider_ref == "pigeon-4"


@pytest.mark.parametrize("name", ["stripes", "", "os", "sandbox.py", "..orders"])
def test_a_provider_that_is_not_there_is_named_with_those_that_are(name: str) -> None:
    with pytest.raises(SettingsError, match=r"TIDINGS_PAYMENT_PROVIDER: .*none.*sandbox"):
        make_provider(name, SITE)


def test_every_provider_bears_the_name_of_its_file() -> None:
    """A payment keeps the name, and a refund years later finds the provider by it."""
    assert {make_provider(name, SITE).name for name in find_names()} == set(find_names())


def test_a_site_without_a_provider_takes_and_gives_nothing() -> None:
    none = make_provider("none", SITE)

    with pytest.raises(NoProviderError, match="no payment provider"):
        none.start(Charge(payment_id=1, order_id=1, amount_cents=100, currency="EUR"))
    # What is owed stays owed, as with any provider that does not answer.
    with pytest.raises(ProviderUnavailableError, match="no payment provider"):
        none.refund(Repayment(payment_id=1, provider_ref=None, amount_cents=1, currency="EUR"))
    with pytest.raises(CallbackRefusedError, match="no payment provider"):
        none.read_callback({}, b"", NOW_S)


def test_what_the_first_release_signed_is_still_read() -> None:
    """An upgrade meets callbacks that were sent before it, and sent again after it."""
    callback = make_provider("sandbox", SITE).read_callback(
        {"tidings-signature": OLD_SIGNATURE}, OLD_BODY, NOW_S + 60
    )

    assert (callback.payment_id, callback.type) == (7, "payment.succeeded")
    assert (callback.amount_cents, callback.currency) == (450, "EUR")


def test_a_callback_under_a_key_that_was_replaced_is_read() -> None:
    """Keys rotate while callbacks are on their way."""
    old_key = derive_keys(SITE.site_keys)[1]

    callback = make_provider("sandbox", SITE).read_callback(
        {"tidings-signature": sign(old_key, OLD_BODY, NOW_S)}, OLD_BODY, NOW_S
    )

    assert callback.payment_id == 7


@pytest.mark.parametrize("body", [b"{}", b"[", b'{"type": "payment.lost"}', b"\xff", b"[" * 9999])
def test_a_signed_callback_that_says_nothing_known_is_told_apart_from_a_forged_one(
    body: bytes,
) -> None:
    signature = sign(derive_keys(SITE.site_keys)[0], body, NOW_S)

    with pytest.raises(CallbackUnreadableError):
        make_provider("sandbox", SITE).read_callback({"tidings-signature": signature}, body, NOW_S)


def test_a_secret_that_was_agreed_with_the_provider_replaces_the_sites_own_keys(
    make_settings: MakeSettings,
) -> None:
    secret = "s" * 32
    site = make_site(make_settings(payment_secrets=(secret,), site_url="https://news.example"))
    sandbox = make_provider("sandbox", site)
    agreed = sign(secret.encode(), OLD_BODY, NOW_S)
    derived = sign(derive_keys(site.site_keys)[0], OLD_BODY, NOW_S)

    assert site.callback_url == "https://news.example/payments/callback"
    assert sandbox.read_callback({"tidings-signature": agreed}, OLD_BODY, NOW_S).payment_id == 7
    with pytest.raises(CallbackRefusedError):
        sandbox.read_callback({"tidings-signature": derived}, OLD_BODY, NOW_S)
