"""A payment provider for development and tests that behaves as real ones do.

It takes every payment, and tells about it late, twice, out of order, or after a failure first; now
and then it cannot be reached. Which of these happens is drawn from a seeded generator, so that a
run can be repeated. A callback that is not taken in is sent again, a little later each time, and
given up after the last. Callbacks are signed over their bytes and a timestamp, and a key that
was replaced still verifies. It gives back as readily as it takes.

    provider = make_provider("sandbox", site)
"""

from __future__ import annotations

import heapq
import hmac
import itertools
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from tidings.shop.providers import (
    TYPES,
    Callback,
    CallbackRefusedError,
    CallbackUnreadableError,
    Charge,
    ProviderUnavailableError,
    Repayment,
    Site,
    Started,
)

SIGNATURE_HEADER = "Tidings-Signature"
REPLAY_WINDOW_S = 300
RETRY_AFTER_S = (0.5, 1, 2, 5, 15)
DELIVERY_TIMEOUT_S = 5
MOST_WAITING = 10_000

log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(Callback)
MOST_HEADER_CHARS = 2048
# body → whether it was taken in
Deliver = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Manners:
    """How often what happens, from 0 to 1, and how long a reader takes to pay."""

    unreachable: float = 0.02
    late: float = 0.1
    twice: float = 0.2
    out_of_order: float = 0.2
    failed_first: float = 0.1
    pay_s: float = 1.0
    late_s: float = 10.0


class SandboxProvider:
    """Implements `Provider`.

    Args:
        deliver: sends a callback's body; whether it was taken in.
        keys: verify callbacks, each of them.
        seed: of what will happen.
    """

    name = "sandbox"

    def __init__(
        self,
        deliver: Deliver,
        *,
        keys: Sequence[bytes] = (),
        seed: int | None = None,
        manners: Manners | None = None,
    ) -> None:
        self._deliver = deliver
        self._keys = keys
        self._manners = manners or Manners()
        self._random = random.Random(seed)  # noqa: S311 - simulates people, guards nothing
        self._queue: list[tuple[float, int, bytes, int]] = []
        self._numbers = itertools.count()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, charge: Charge) -> Started:
        with self._news:
            self._be_reached()
            for after_s, type_ in self._plan():
                self._push(after_s, _body(charge, type_), 0)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sandbox-provider", daemon=True
                )
                self._thread.start()
            self._news.notify()
        return Started(_reference(charge), "/docs#sandbox")

    def read_callback(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Callback:
        verify(self._keys, body, headers.get(SIGNATURE_HEADER.lower(), ""), now_s)
        return _read(body)

    def refund(self, repayment: Repayment) -> None:
        with self._news:
            self._be_reached()

    def close(self) -> None:
        """Forget what was not delivered yet."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()

    def _be_reached(self) -> None:
        is_away = self._random.random() < self._manners.unreachable
        if is_away or len(self._queue) >= MOST_WAITING:
            raise ProviderUnavailableError("the payment provider cannot be reached")

    def _plan(self) -> list[tuple[float, str]]:
        manners, draw = self._manners, self._random.random
        paid_at = manners.pay_s * (0.5 + draw()) + (manners.late_s if draw() < manners.late else 0)
        pending_at = paid_at + 0.2 if draw() < manners.out_of_order else paid_at / 2
        plan = [(pending_at, "payment.pending"), (paid_at, "payment.succeeded")]
        if draw() < manners.failed_first:
            failed_at = paid_at + 0.2 if draw() < manners.out_of_order else paid_at / 2
            plan.append((failed_at, "payment.failed"))
        if draw() < manners.twice:
            plan.append((paid_at + draw(), "payment.succeeded"))
        return plan

    def _next_after_s(self) -> float:
        return self._queue[0][0] - time.monotonic() if self._queue else 60.0

    def _push(self, after_s: float, body: bytes, tries: int) -> None:
        heapq.heappush(self._queue, (time.monotonic() + after_s, next(self._numbers), body, tries))

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._closed and (wait_s := self._next_after_s()) > 0:
                    self._news.wait(wait_s)
                if self._closed:
                    return
                _, _, body, tries = heapq.heappop(self._queue)
            if not self._deliver(body):
                with self._news:
                    if tries < len(RETRY_AFTER_S):
                        self._push(RETRY_AFTER_S[tries], body, tries + 1)
                    else:
                        log.error("callback_given_up", tries=tries + 1, body=body.decode())


def make_provider(site: Site) -> SandboxProvider:
    """Found by its name; without a secret of its own it signs with keys derived from the site's."""
    keys = site.secrets or derive_keys(site.site_keys)
    return SandboxProvider(deliver_by_http(site.callback_url, keys[0]), keys=keys)


def derive_keys(site_keys: Sequence[bytes]) -> list[bytes]:
    """Keys for callbacks from the site's secret keys."""
    return [hmac.digest(key, b"tidings.payments.1", "sha256") for key in site_keys]


def sign(key: bytes, body: bytes, at_s: int) -> str:
    """The signature header for a callback sent at `at_s` seconds since the epoch."""
    return f"t={at_s},v1={_digest(key, body, at_s)}"


def verify(keys: Sequence[bytes], body: bytes, header: str, now_s: float) -> None:
    """Let a callback pass that one of the keys signed.

    Raises:
        CallbackRefusedError: none of the keys signed this, or not within REPLAY_WINDOW_S of now.
    """
    parts = [part.partition("=") for part in header[:MOST_HEADER_CHARS].split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    # While a secret is replaced, a callback bears one signature by each.
    signatures = [value for name, _, value in parts if name == "v1" and value.isascii()]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and signatures):
        raise CallbackRefusedError(f"{SIGNATURE_HEADER} should be t=SECONDS,v1=HMAC", "unsigned")
    digests = [_digest(key, body, int(stamp)) for key in keys]
    if not any(hmac.compare_digest(ours, theirs) for ours in digests for theirs in signatures):
        raise CallbackRefusedError("the signature does not fit the body", "forged")
    if abs(now_s - int(stamp)) > REPLAY_WINDOW_S:
        raise CallbackRefusedError(
            f"the signature is older, or newer, than {REPLAY_WINDOW_S} s", "replayed"
        )


def deliver_by_http(url: str, key: bytes) -> Deliver:
    """Sends callbacks to `url`, signed."""

    def deliver(body: bytes) -> bool:
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(key, body, int(time.time())),
        }
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - an operator's setting, not a reader's
        try:
            with urllib.request.urlopen(request, timeout=DELIVERY_TIMEOUT_S):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError) as ex:
            log.warning("callback_not_taken", url=url, error=repr(ex))
            return False

    return deliver


def _digest(key: bytes, body: bytes, at_s: int) -> str:
    return hmac.digest(key, b"%d.%b" % (at_s, body), "sha256").hex()


def _read(body: bytes) -> Callback:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as ex:
        head = _read_head(body)
        if head is not None and head.type not in TYPES:
            return Callback(head.event_id, head.type)
        event = f"event {head.event_id} " if head else "the callback "
        raise CallbackUnreadableError(f"{event}cannot be read: {ex}") from None


def _read_head(body: bytes) -> Callback | None:
    """What every event has, if this one has that at least: the rest is each type's own."""
    try:
        told = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        head = {name: told[name] for name in ("event_id", "type")}
        return _decoder.decode(msgspec.json.encode(head))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None


def _reference(charge: Charge) -> str:
    return f"sandbox-{charge.payment_id}"


def _body(charge: Charge, type_: str) -> bytes:
    callback = Callback(
        event_id=f"{_reference(charge)}-{type_}",
        type=type_,
        payment_id=charge.payment_id,
        provider_ref=_reference(charge),
        amount_cents=charge.amount_cents,
        currency=charge.currency,
    )
    return msgspec.json.encode(callback)
