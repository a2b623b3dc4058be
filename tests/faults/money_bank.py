"""The payment provider's own side: it takes money, gives it back, and keeps books that nothing done
to the site can touch.

It lives in the test's process, so it outlives every kill. When it calls back, and how often, is the
sandbox's manner; besides it fails, or does what it was asked and breaks the connection instead of
answering. Rejected: the sandbox inside the gateway, whose memory would die
with each kill, and with it what it had promised.

    with Bank(gateway_ports, key, seed=7) as bank:
        bank.say(callback)
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec

from tests.lab.servers import wait_until
from tidings.shop.providers import Charge, ProviderUnavailableError, Repayment
from tidings.shop.providers.sandbox import (
    SIGNATURE_HEADER,
    Manners,
    SandboxProvider,
    sign,
)

MANNERS = Manners(unreachable=0.1, late=0.3, twice=0.3, failed_first=0.2, pay_s=0.5, late_s=4.0)
# How often a charge fails before it is done, and how often the connection breaks after that. The
# first try of each refund fails in one of these ways.
FAILS, BREAKS_OFF = 0.3, 0.15
# Money of these payments is never given back: a person has to see to it.
STUBBORN = 11
DELIVERY_TIMEOUT_S = 5
# What is answered so is told again.
COME_AGAIN = (429, 502, 503)
TAKEN = ("paid", "refunded", "failed", "noted")
# What is wrong with a callback, and what it has to come to; "" where it cannot be read.
NONSENSE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "charge.dispute.created"}, "noted"),
    ({"amount_cents": 1}, "mismatch"),
    ({"currency": "USD"}, "mismatch"),
    ({"provider_ref": "of-another"}, "mismatch"),
    ({"payment_id": 10**9}, "unknown_payment"),
    ({"amount_cents": 2**70}, ""),
    ({"payment_id": -(2**63) - 1}, ""),
)


class Event(msgspec.Struct):
    """A callback as it was sent, and what the site has answered.

    Attributes:
        expected: what it has to come to, where that is no matter of time.
        status: 0 until it was answered.
    """

    body: bytes
    payment_id: int
    expected: str = ""
    status: int = 0
    verdict: str = ""

    @property
    def kept_as(self) -> str:
        """The name of its row, if it was answered by this status."""
        if self.status == 422:
            return f"sha256:{hashlib.sha256(self.body).hexdigest()}"
        return str(msgspec.json.decode(self.body)["event_id"])


@dataclass
class Books:
    """What the bank has done, by the payment's id."""

    charges: dict[int, Charge] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)
    refunds_asked: set[int] = field(default_factory=set)
    refunds_refused: set[int] = field(default_factory=set)
    given_back: dict[int, list[int]] = field(default_factory=dict)
    # Refunds that it was asked for again, and gave nothing more for.
    repeated: int = 0

    def kept(self, payment_id: int) -> int:
        """What is left of a payment, in cents."""
        return self.taken.get(payment_id, 0) - sum(self.given_back.get(payment_id, []))


class Bank:
    """The provider, and its way to the gateways.

    Args:
        ports: of the gateways, any of which may be down.
        key: signs callbacks.
    """

    def __init__(self, ports: Sequence[int], key: bytes, *, seed: int) -> None:
        self._ports = ports
        self._key = key
        self._random = random.Random(f"{seed}:bank")
        self._lock = threading.Lock()
        self._sandbox = SandboxProvider(self._deliver, seed=seed, manners=MANNERS)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.books = Books()
        self.events: dict[str, Event] = {}
        # What the site said that it should not have said.
        self.wrong: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._heard_at_s = time.monotonic()
        self._underway = 0

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._sandbox.close()

    def talk_nonsense(self, draw: random.Random, charge: Charge) -> None:
        """Sign what a bank should never say of this charge, or say again what it has said."""
        with self._lock:
            answered = [event for event in self.events.values() if event.status == 200]
        if answered and draw.random() < 0.3:
            self._repeat(draw.choice(answered))
            return
        right = {
            "type": "payment.succeeded",
            "payment_id": charge.payment_id,
            "provider_ref": f"sandbox-{charge.payment_id}",
            "amount_cents": charge.amount_cents,
            "currency": charge.currency,
        }
        wrong, expected = draw.choice(NONSENSE)
        name = f"nonsense-{next(self._numbers)}"
        body = msgspec.json.encode({"event_id": name, **right, **wrong})
        event = Event(body, charge.payment_id, expected)
        event.status, said = self._send_until_answered(body)
        event.verdict = str(said.get("settlement") or said.get("type"))
        with self._lock:
            self.events[name] = event
            if (event.status, event.verdict) != (200, expected) and event.status != 422:
                self.wrong[f"{wrong}: {event.status} {event.verdict}"] += 1
            if event.status == 422 and expected:
                self.wrong[f"{wrong}: 422"] += 1

    def _repeat(self, event: Event) -> None:
        status, said = self._send_until_answered(event.body)
        if (status, said.get("settlement")) != (200, event.verdict):
            with self._lock:
                self.wrong[f"repeated {event.verdict}: {status} {said.get('settlement')}"] += 1

    def _send_until_answered(self, body: bytes) -> tuple[int, dict[str, Any]]:
        give_up_at_s = time.monotonic() + 60
        while True:
            answer = self._send(body)
            if answer is not None and answer[0] not in COME_AGAIN:
                return answer
            assert time.monotonic() < give_up_at_s, f"no gateway takes {body!r}"
            time.sleep(0.1)

    def settle(self, within_s: float) -> None:
        """Wait until nothing more is planned, and tell again what was never taken in."""
        wait_until(self._is_quiet, within_s, "the bank to have told everything")
        with self._lock:
            unanswered = [event.body for event in self.events.values() if not event.status]
        for body in unanswered:
            wait_until(lambda body=body: self._deliver(body), within_s, "a gateway")  # type: ignore[misc]

    def _is_quiet(self) -> bool:
        # A callback that is on its way has left the queue.
        with self._lock:
            is_told = not self._underway and time.monotonic() - self._heard_at_s > 1
        return is_told and not self._sandbox._queue

    def _deliver(self, body: bytes) -> bool:
        """Called by the sandbox; whether a gateway took it in."""
        said = msgspec.json.decode(body)
        with self._lock:
            event = self.events.setdefault(said["event_id"], Event(body, said["payment_id"]))
            if said["type"] == "payment.succeeded":
                self.books.taken[said["payment_id"]] = said["amount_cents"]
            self._underway += 1
        answer = self._send(body)
        with self._lock:
            self._underway -= 1
            self._heard_at_s = time.monotonic()
        if answer is None or answer[0] in COME_AGAIN:
            return False
        status, heard = answer
        with self._lock:
            verdict = str(heard.get("settlement") or heard.get("type"))
            if verdict not in TAKEN or (event.verdict and event.verdict != verdict):
                self.wrong[f"{said['type']}: {status} {event.verdict} {verdict}"] += 1
            event.status, event.verdict = status, verdict
        return True

    def _send(self, body: bytes) -> tuple[int, dict[str, Any]] | None:
        for port in self._random.sample(self._ports, len(self._ports)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DELIVERY_TIMEOUT_S)
            try:
                headers = {
                    "Content-Type": "application/json",
                    SIGNATURE_HEADER: sign(self._key, body, int(time.time())),
                }
                connection.request("POST", "/payments/callback", body, headers)
                answer = connection.getresponse()
                return answer.status, msgspec.json.decode(answer.read())
            except (OSError, http.client.HTTPException, msgspec.DecodeError):
                continue
            finally:
                connection.close()
        return None

    def _charge(self, body: bytes) -> bytes | None:
        charge = msgspec.json.decode(body, type=Charge)
        with self._lock:
            self.books.charges[charge.payment_id] = charge
            draw = self._random.random()
        if draw < FAILS:
            raise ProviderUnavailableError("try again")
        answer = msgspec.json.encode(self._sandbox.start(charge))
        return None if draw > 1 - BREAKS_OFF else answer

    def _refund(self, body: bytes) -> bytes | None:
        repayment = msgspec.json.decode(body, type=Repayment)
        with self._lock:
            is_first = repayment.payment_id not in self.books.refunds_asked
            self.books.refunds_asked.add(repayment.payment_id)
            if repayment.payment_id % STUBBORN == 0 or (is_first and repayment.payment_id % 2):
                self.books.refunds_refused.add(repayment.payment_id)
                raise ProviderUnavailableError("this account is closed")
            given = self.books.given_back.setdefault(repayment.payment_id, [])
            if repayment.amount_cents in given:
                self.books.repeated += 1
            else:
                given.append(repayment.amount_cents)
        return None if is_first else b"{}"

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        bank = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    answer = {"/charges": bank._charge, "/refunds": bank._refund}[self.path](body)
                except ProviderUnavailableError as ex:
                    self._answer(503, str(ex).encode())
                    return
                if answer is None:
                    self.close_connection = True
                else:
                    self._answer(200, answer)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: the test says what matters."""

        return Handler
