"""A provider whose books are kept elsewhere, by `tests.faults.money_bank`: the gateway's and the
daemon's side of it.

Found by its name where `tests.faults.money_processes` has added this folder. Callbacks are the
sandbox's, so they are read as the sandbox reads them.

    make_provider(site).refund(repayment)
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from tidings.shop.providers import (
    Callback,
    Charge,
    ProviderUnavailableError,
    Repayment,
    Site,
    Started,
)
from tidings.shop.providers.sandbox import SandboxProvider, derive_keys

# Where the bank listens on this machine; not a setting of the site, which has none for it.
PORT_VARIABLE = "BANK_PORT"
TIMEOUT_S = 5


class BankProvider:
    """Implements `Provider`."""

    name = "bank"

    def __init__(self, port: int, sandbox: SandboxProvider) -> None:
        self._port = port
        self._sandbox = sandbox

    def start(self, charge: Charge) -> Started:
        return msgspec.json.decode(self._ask("/charges", charge), type=Started)

    def read_callback(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Callback:
        return self._sandbox.read_callback(headers, body, now_s)

    def refund(self, repayment: Repayment) -> None:
        self._ask("/refunds", repayment)

    def _ask(self, path: str, what: Any) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, msgspec.json.encode(what))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as ex:
            raise ProviderUnavailableError(f"the bank does not answer: {ex!r}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ProviderUnavailableError(f"the bank says {answer.status}")
        return body


def make_provider(site: Site) -> BankProvider:
    """Found by its name."""
    keys = site.secrets or derive_keys(site.site_keys)
    sandbox = SandboxProvider(lambda _: False, keys=keys)
    return BankProvider(int(os.environ[PORT_VARIABLE]), sandbox)
